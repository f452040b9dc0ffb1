//! The built-in suite `in_context`: random functions, to be learned from examples in the context.
//!
//! An item is a function drawn from a family, with [`ANSWERS`] questions. The model reads questions and
//! answers alternately, and each answer is scored given everything before it: after no example, after one,
//! and so on (Garg et al. 2022 for regression; the summary score is that of Olsson et al. 2022).
//!
//! Functions and questions are drawn from known distributions. This determines the predictions of the optimal
//! learner, which knows the family, and predicts by the fraction of its functions that agree with all
//! examples so far. Its log-probability is stored next to the model's.

use std::collections::BTreeMap;

use fineline_random::Stream;
use rand::RngExt;

use crate::tasks::item::{InContextQuestion, Item};
use crate::tasks::kind::TaskKind;
use crate::tasks::task::Task;

/// Number of questions of an item. The last one follows 16 examples.
const ANSWERS: usize = 17;

/// Number of items of a task.
const ITEMS: u64 = 128;

/// The items are the same in every run.
const SEED: u64 = 0;

/// Changes if a family or its wording does.
const VERSION: &str = "1";

const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
const WORDS: [&str; 6] = ["apple", "river", "stone", "horse", "cloud", "green"];
const LABELS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];

/// The tasks of the suite.
pub(crate) fn tasks() -> Vec<Task> {
    FunctionFamily::ALL.into_iter().map(FunctionFamily::task).collect()
}

/// A family from which functions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FunctionFamily {
    /// `y = a x + b`
    Linear,
    /// `z = a x + b y + c`
    Plane,
    /// Shifts each letter by a fixed number of positions in the alphabet.
    Shift,
    /// Permutes three letters. Includes identity and reversal.
    Order,
    /// Maps each of six words to a label that is drawn once per word.
    Table,
    /// Maps each of six words to a label that is drawn anew each time. Only the set of labels can be learned.
    Noise,
}

/// A function of small integers: an element of a family that can be enumerated.
#[derive(Clone, Copy, Debug)]
enum DrawnFunction {
    Linear { slope: u32, offset: u32 },
    Plane { slopes: [u32; 2], offset: u32 },
    Shift(u32),
    Order([usize; 3]),
}

/// An answer, and its log-probability under the optimal learner after all previous examples.
struct OptimalAnswer {
    text: String,
    optimal_logprob: f64,
}

impl FunctionFamily {
    const ALL: [Self; 6] = [Self::Linear, Self::Plane, Self::Shift, Self::Order, Self::Table, Self::Noise];

    fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Plane => "plane",
            Self::Shift => "shift",
            Self::Order => "order",
            Self::Table => "table",
            Self::Noise => "noise",
        }
    }

    fn task(self) -> Task {
        let (items, chances): (Vec<Item>, Vec<f64>) = (0..ITEMS).map(|index| self.item(index)).unzip();
        Task {
            name: format!("in_context_{}", self.name()),
            domain: "in-context learning".into(),
            kind: TaskKind::InContext,
            shots: ANSWERS - 1,
            chance: Some(chances.iter().sum::<f64>() / chances.len() as f64),
            signal: None,
            source: Some("drawn".into()),
            licence: None,
            version: Some(VERSION.into()),
            unconditional: None,
            target_delimiter: " ".to_owned(),
            generation: None,
            template: String::new(),
            items,
        }
    }

    /// The item of this index, and the probability of the best guess at its last answer without examples.
    fn item(self, index: u64) -> (Item, f64) {
        let mut draw = Stream::new(SEED, &format!("probe/in_context/{}", self.name()), index);
        let (questions, answers, chance) = match self {
            Self::Table | Self::Noise => self.labelled(&mut draw),
            _ => self.computed(&mut draw),
        };
        let question = |(text, answer): (String, &OptimalAnswer)| InContextQuestion {
            text: format!("{text} ->"),
            optimal_logprob: answer.optimal_logprob,
        };
        let item = Item {
            questions: questions.into_iter().zip(&answers).map(question).collect(),
            gold: answers.len() - 1,
            choices: answers.into_iter().map(|answer| answer.text).collect(),
            ..Item::default()
        };
        (item, chance)
    }

    /// Questions, answers and chance of a function from an enumerated family.
    fn computed(self, draw: &mut Stream) -> (Vec<String>, Vec<OptimalAnswer>, f64) {
        let functions = self.functions();
        let function = functions[draw.random_range(0..functions.len())];
        let questions = self.questions(draw);
        let last = &questions[questions.len() - 1];
        let chance = most_frequent(&functions, last) as f64 / functions.len() as f64;
        let mut agreeing = functions;
        let answers = questions.iter().map(|question| {
            let text = function.answer(question);
            let before = agreeing.len();
            agreeing.retain(|other| other.answer(question) == text);
            OptimalAnswer { text, optimal_logprob: (agreeing.len() as f64 / before as f64).ln() }
        });
        let answers = answers.collect();
        (questions.iter().map(|question| self.text(question)).collect(), answers, chance)
    }

    /// Questions, answers and chance of a mapping from words to labels.
    fn labelled(self, draw: &mut Stream) -> (Vec<String>, Vec<OptimalAnswer>, f64) {
        let chance = 1.0 / LABELS.len() as f64;
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        let (mut questions, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..ANSWERS {
            let word = WORDS[draw.random_range(0..WORDS.len())];
            let drawn = LABELS[draw.random_range(0..LABELS.len())];
            let before = known.get(word).copied().filter(|_| self == Self::Table);
            let label = before.unwrap_or(drawn);
            known.insert(word, label);
            questions.push(word.to_owned());
            let probability = if before.is_some() { 1.0 } else { chance };
            answers.push(OptimalAnswer { text: label.to_owned(), optimal_logprob: probability.ln() });
        }
        (questions, answers, chance)
    }

    /// All functions of the family, with equal probability.
    fn functions(self) -> Vec<DrawnFunction> {
        let pairs = |first: std::ops::RangeInclusive<u32>, second: std::ops::RangeInclusive<u32>| {
            first.flat_map(move |a| second.clone().map(move |b| (a, b)))
        };
        match self {
            Self::Linear => {
                pairs(1..=4, 0..=9).map(|(slope, offset)| DrawnFunction::Linear { slope, offset }).collect()
            }
            Self::Plane => pairs(1..=3, 1..=3)
                .flat_map(|(a, b)| (0..=4).map(move |offset| DrawnFunction::Plane { slopes: [a, b], offset }))
                .collect(),
            Self::Shift => (1..LETTERS.len() as u32).map(DrawnFunction::Shift).collect(),
            Self::Order => [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
                .map(DrawnFunction::Order)
                .to_vec(),
            Self::Table | Self::Noise => Vec::new(),
        }
    }

    /// The distinct questions of an item.
    fn questions(self, draw: &mut Stream) -> Vec<Vec<u32>> {
        let (parts, values) = match self {
            Self::Linear => (1, 20),
            Self::Plane => (2, 10),
            Self::Shift => (1, LETTERS.len() as u32),
            _ => (3, LETTERS.len() as u32),
        };
        let mut questions: Vec<Vec<u32>> = Vec::new();
        while questions.len() < ANSWERS {
            let question: Vec<u32> = (0..parts).map(|_| draw.random_range(0..values)).collect();
            let repeats = |question: &[u32]| {
                self == Self::Order && (1..parts).any(|index| question[..index].contains(&question[index]))
            };
            if !questions.contains(&question) && !repeats(&question) {
                questions.push(question);
            }
        }
        questions
    }

    fn text(self, question: &[u32]) -> String {
        match self {
            Self::Shift | Self::Order => spelled(question),
            _ => question.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}

impl DrawnFunction {
    fn answer(&self, question: &[u32]) -> String {
        match *self {
            Self::Linear { slope, offset } => (slope * question[0] + offset).to_string(),
            Self::Plane { slopes, offset } => {
                (slopes[0] * question[0] + slopes[1] * question[1] + offset).to_string()
            }
            Self::Shift(indices) => spelled(&[(question[0] + indices) % LETTERS.len() as u32]),
            Self::Order(order) => spelled(&order.map(|index| question[index])),
        }
    }
}

/// Letters by their index in the alphabet, separated by spaces.
fn spelled(letters: &[u32]) -> String {
    let letter = |&index: &u32| char::from(LETTERS[index as usize]).to_string();
    letters.iter().map(letter).collect::<Vec<_>>().join(" ")
}

/// Number of functions with the most frequent answer.
fn most_frequent(functions: &[DrawnFunction], question: &[u32]) -> usize {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for function in functions {
        *counts.entry(function.answer(question)).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_questions_of_one_function() {
        let (item, _) = FunctionFamily::Linear.item(3);
        let question =
            |index: usize| item.questions[index].text.strip_suffix(" ->").unwrap().parse().unwrap();
        let points: Vec<(f64, f64)> =
            (0..ANSWERS).map(|index| (question(index), item.choices[index].parse().unwrap())).collect();
        let slope = (points[1].1 - points[0].1) / (points[1].0 - points[0].0);
        assert!(points.iter().all(|(x, y)| (y - points[0].1 - slope * (x - points[0].0)).abs() < 1e-9));
        assert_eq!(item.gold, ANSWERS - 1);
        let (order, _) = FunctionFamily::Order.item(0);
        assert!(order.questions[0].text.len() == "a b c ->".len() && order.choices[0].len() == "a b c".len());
    }

    /// The questions of an item are distinct, so no answer can be copied.
    #[test]
    fn only_words_come_again() {
        for family in FunctionFamily::ALL {
            let (item, _) = family.item(5);
            let mut texts: Vec<&str> = item.questions.iter().map(|question| &*question.text).collect();
            texts.sort_unstable();
            texts.dedup();
            let looks_up = matches!(family, FunctionFamily::Table | FunctionFamily::Noise);
            assert_eq!(texts.len() < ANSWERS, looks_up, "{family:?}");
        }
    }

    /// Before any example, the optimal learner knows the family. Afterwards, its loss is at most what is left
    /// to learn.
    #[test]
    fn the_best_learner_gains_what_there_is_to_gain() {
        for family in FunctionFamily::ALL {
            let items: Vec<(Item, f64)> = (0..ITEMS).map(|index| family.item(index)).collect();
            let nats = |index: usize| {
                let nats = items.iter().map(|(item, _)| -item.questions[index].optimal_logprob);
                nats.sum::<f64>() / items.len() as f64
            };
            let labels = (LABELS.len() as f64).ln();
            let functions = family.functions().len() as f64;
            match family {
                FunctionFamily::Noise => {
                    assert!((0..ANSWERS).all(|index| (nats(index) - labels).abs() < 1e-12));
                }
                FunctionFamily::Table => {
                    assert!((nats(0) - labels).abs() < 1e-12 && nats(ANSWERS - 1) < 0.3 * labels);
                }
                FunctionFamily::Order | FunctionFamily::Shift => {
                    assert!((nats(0) - functions.ln()).abs() < 1e-12 && nats(1) == 0.0);
                }
                FunctionFamily::Linear | FunctionFamily::Plane => {
                    assert!(nats(0) > 2.0 && nats(0) <= functions.ln());
                    assert!(nats(1) > 0.0 && nats(ANSWERS - 1) < 0.02, "{family:?}");
                }
            }
            // In total, at most the identity of the function can be learned.
            let total: f64 = (0..ANSWERS).map(nats).sum();
            assert!(functions == 0.0 || total <= functions.ln() + 1e-9, "{family:?}");
        }
    }

    #[test]
    fn chance_is_the_best_guess_without_examples() {
        let chance = |family: FunctionFamily| family.task().chance.unwrap();
        assert!((chance(FunctionFamily::Order) - 1.0 / 6.0).abs() < 1e-12);
        assert!((chance(FunctionFamily::Shift) - 1.0 / 25.0).abs() < 1e-12);
        assert!((chance(FunctionFamily::Noise) - 1.0 / 6.0).abs() < 1e-12);
        assert!((1.0 / 40.0..0.11).contains(&chance(FunctionFamily::Linear)));
    }

    /// Recorded once, because results of different versions are compared.
    #[test]
    fn the_items_are_stable() {
        let beginning = |family: FunctionFamily| {
            let (item, _) = family.item(0);
            let solved = |index: usize| format!("{} {}", item.questions[index].text, item.choices[index]);
            [solved(0), solved(1)].join("; ")
        };
        let all = FunctionFamily::ALL.map(beginning);
        let expected = [
            "4 -> 16; 10 -> 34",
            "5, 8 -> 33; 8, 7 -> 33",
            "v -> n; r -> j",
            "s j z -> s j z; n h l -> n h l",
            "apple -> F; river -> A",
            "river -> B; cloud -> A",
        ];
        assert_eq!(all, expected);
    }
}
