//! Requests of in-context items: one text of questions and answers, in which each answer is scored given
//! everything before it.

use std::ops::Range;

use crate::error::ProbeError;
use crate::requests::encoder::RequestEncoder;
use crate::requests::request::{Continuation, Request};
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::{TARGET_DELIMITER, Task};

/// Separator between an answer and the next question.
const SEPARATOR: &str = "\n";

/// Minimum number of answers of an item: the last one follows two examples.
const LEAST_ANSWERS: usize = 3;

/// The tokens of an item's text, and the ranges of its answers.
struct TokenChain {
    tokens: Vec<u32>,
    answers: Vec<Range<usize>>,
}

impl RequestEncoder<'_> {
    /// Truncates each item to as many examples as fit the context length. The number is the same for all
    /// items, so that each number of examples is evaluated on the same items.
    pub(crate) fn fit_examples(&self, mut task: Task) -> Result<Task, ProbeError> {
        if task.kind != TaskKind::InContext {
            return Ok(task);
        }
        let mut fitting = usize::MAX;
        for (index, item) in task.items.iter().enumerate() {
            let refused = |message| ProbeError::Item { task: task.name.clone(), item: index, message };
            let chain = self.chain(item).map_err(refused)?;
            // The last token of an answer is predicted, but not read.
            let fits = |answer: &&Range<usize>| answer.end - 1 <= self.max_len;
            fitting = fitting.min(chain.answers.iter().filter(fits).count());
        }
        if fitting < LEAST_ANSWERS {
            let message = format!(
                "expected room for 2 examples and a question, but the context length is {} tokens",
                self.max_len
            );
            return Err(ProbeError::Task { task: task.name, message });
        }
        for item in task.items.iter_mut().filter(|item| item.choices.len() > fitting) {
            item.choices.truncate(fitting);
            item.questions.truncate(fitting);
            item.gold = fitting - 1;
        }
        if fitting <= task.shots {
            tracing::warn!(
                task = task.name,
                examples = fitting - 1,
                of = task.shots,
                max_len = self.max_len,
                "fewer examples than the task has: they don't all fit the context length"
            );
            task.shots = fitting - 1;
        }
        Ok(task)
    }

    /// The only request of an in-context item.
    pub(super) fn chained(&self, index: usize, item: &Item) -> Result<Request, String> {
        let TokenChain { tokens, answers } = self.chain(item)?;
        let mut read = 0;
        let mut continuations = Vec::with_capacity(answers.len());
        for (choice, answer) in answers.iter().enumerate() {
            // The context precedes the first answer.
            let given = if choice == 0 { Vec::new() } else { tokens[read..answer.start].to_vec() };
            continuations.push(Continuation { choice, given, tokens: tokens[answer.clone()].to_vec() });
            read = answer.end - 1;
        }
        let context = tokens[..answers[0].start].to_vec();
        Ok(Request { item: index, unconditional: false, context, continuations })
    }

    /// The items are encoded as one text. The tokens of an answer, with the space before it, are those
    /// between the end of the tokens of the text before it and the end of the tokens of the text up to its
    /// end. This is the rule by which [`split`](RequestEncoder::split) finds a continuation, also if a token
    /// crosses the boundary.
    fn chain(&self, item: &Item) -> Result<TokenChain, String> {
        let mut text = String::new();
        let mut answers = Vec::with_capacity(item.choices.len());
        let mut end = 1;
        for (index, (question, answer)) in item.questions.iter().zip(&item.choices).enumerate() {
            if index > 0 {
                text.push_str(SEPARATOR);
            }
            text.push_str(&question.text);
            let start = self.text(&text)?.len();
            text.push_str(TARGET_DELIMITER);
            text.push_str(answer);
            if start < end {
                return Err(format!("question {index} adds no token to the text before it"));
            }
            end = self.text(&text)?.len();
            if end <= start {
                return Err(format!("answer {index} adds no token to its question"));
            }
            answers.push(start..end);
        }
        let tokens = self.text(&text)?;
        Ok(TokenChain { tokens, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::encoder::tests::encoder;
    use crate::tasks::item::InContextQuestion;

    const BOS: u32 = 1;

    fn item(pairs: &[(&str, &str)]) -> Item {
        let question =
            |(text, _): &(&str, &str)| InContextQuestion { text: (*text).to_owned(), optimal_logprob: -1.0 };
        Item {
            questions: pairs.iter().map(question).collect(),
            choices: pairs.iter().map(|(_, answer)| (*answer).to_owned()).collect(),
            gold: pairs.len() - 1,
            ..Item::default()
        }
    }

    fn chars(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    fn task(items: Vec<Item>) -> Task {
        let shots = items[0].choices.len() - 1;
        Task { shots, items, ..crate::tasks::task::tests::task(TaskKind::InContext, &[]) }
    }

    #[test]
    fn answers_follow_all_that_is_before_them() {
        let request =
            encoder(None, 99).chained(4, &item(&[("x:", "p"), ("yy:", "qr"), ("z:", "s")])).unwrap();
        assert_eq!((request.item, &request.context), (4, &chars("x:")));
        let parts: Vec<_> =
            request.continuations.iter().map(|c| (c.choice, c.given.clone(), c.tokens.clone())).collect();
        let expected =
            [(0, vec![], chars(" p")), (1, chars("p\nyy:"), chars(" qr")), (2, chars("r\nz:"), chars(" s"))];
        assert_eq!(parts, expected);
        // "x: p\nyy: qr\nz: s" without its last character.
        assert_eq!(request.input_len(), 15);
        let with_bos = encoder(Some(BOS), 99).chained(0, &item(&[("x:", "p"), ("y:", "q")])).unwrap();
        assert_eq!(with_bos.context, [vec![BOS], chars("x:")].concat());
    }

    /// " a" is one token of the toy tokenizer, and "b c" is one that crosses the boundary.
    #[test]
    fn tokens_at_the_border_are_cut_as_those_of_other_tasks() {
        let request = encoder(None, 99).chained(0, &item(&[("x:", "a"), ("b", "cd"), ("z", "s")])).unwrap();
        let [first, second, third] = &request.continuations[..] else { panic!("three answers") };
        assert_eq!(first.tokens, [1001]);
        // "x: a\nb" is 5 tokens. With " cd" the fifth is "b c", and the answer is what follows.
        assert_eq!((&second.given, &second.tokens), (&vec![1001, 10, 1000], &chars("d")));
        assert_eq!((&third.given, &third.tokens), (&chars("d\nz"), &chars(" s")));
    }

    #[test]
    fn all_items_have_as_many_examples_as_fit_into_the_longest() {
        let short = item(&[("x:", "p"), ("x:", "p"), ("x:", "p"), ("x:", "p")]);
        let long = item(&[("x:", "p"), ("x:", "pq"), ("x:", "p"), ("x:", "p")]);
        let fit = |max_len| {
            let task = encoder(None, max_len).fit_examples(task(vec![short.clone(), long.clone()]));
            task.map(|task| (task.items[0].choices.len(), task.items[1].gold, task.shots))
        };
        // 4 + 5 + 6 + 5 tokens, of which the last need not be read.
        assert_eq!(fit(19).unwrap(), (4, 3, 3));
        assert_eq!(fit(18).unwrap(), (3, 2, 2));
        assert_eq!(fit(14).unwrap(), (3, 2, 2));
        let refused = fit(13).unwrap_err().to_string();
        assert!(
            refused.contains("expected room for 2 examples") && refused.contains("13 tokens"),
            "{refused}"
        );
    }

    #[test]
    fn what_adds_no_token_is_refused() {
        let refused = encoder(None, 99).chained(0, &item(&[("b", "c"), ("y", "q")])).unwrap_err();
        assert_eq!(refused, "answer 0 adds no token to its question");
    }
}
