use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::requests::encoder::TARGET_DELIMITER;
use crate::tasks::generation_rules::{GenerationRules, Program};

/// A named set of questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name, unique within a suite.
    pub name: String,
    /// The capability that it belongs to.
    pub domain: String,
    /// How its items are scored.
    pub kind: Kind,
    /// How many solved examples the contexts begin with.
    pub shots: usize,
    /// The accuracy of guessing; `None` where there is nothing to guess among.
    pub chance: Option<f64>,
    /// When in training it is known to leave chance.
    pub rises: Option<Rises>,
    /// Where the items are from.
    pub source: Option<String>,
    /// The licence of the items.
    pub licence: Option<String>,
    /// The version of wording and data, where its author counts them.
    pub version: Option<String>,
    /// What each choice is also scored after, to tell what the context adds to it (pointwise mutual information); may be empty.
    pub unconditional: Option<String>,
    /// What stands between a context and what is scored after it: one space, but in some of lm-evaluation-harness's tasks.
    pub target_delimiter: String,
    /// How answers are written and judged: there if [`Kind::is_written`].
    pub generation: Option<GenerationRules>,
    /// How the texts of the items were made from their data: what `provenance` holds a hash of.
    pub template: String,
    /// The questions.
    pub items: Vec<Item>,
}

/// How the items of a task are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The likeliest choice after the context is the answer.
    MultipleChoice,
    /// There is one choice, found if each of its tokens is the likeliest one.
    Cloze,
    /// There is one choice, a text to predict from its beginning; the context is empty.
    Perplexity,
    /// The choice with which the whole prompt, from its first token on, has the least mean cross-entropy is the answer: what
    /// `OpenCompass` calls PPL.
    FullPromptMeanCe,
    /// The choice whose tokens, from where the prompts part, have the least mean cross-entropy is the answer; where a continuation follows the choices, what
    /// the prompts end in alike. As nanochat scores DCLM's CORE tasks (`batch_sequences_mc`, `batch_sequences_schema` of `nanochat/core_eval.py`).
    SuffixMeanCe,
    /// The model writes an answer, which is right if it equals an accepted one.
    Generation,
    /// The model writes a program, which is right if it passes its tests.
    Code,
    /// Questions and answers follow one another, and each answer is scored given all before it: `choices[k]` answers `questions[k]` after
    /// `k` examples.
    InContext,
    /// There is one text, and what is looked at is how the model represents it.
    Representation,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::MultipleChoice,
        Self::Cloze,
        Self::Perplexity,
        Self::FullPromptMeanCe,
        Self::SuffixMeanCe,
        Self::Generation,
        Self::Code,
        Self::InContext,
        Self::Representation,
    ];

    /// The name in files: `multiple_choice`, `cloze`, `perplexity`, `full_prompt_mean_ce`, `suffix_mean_ce`, `generation`, `code`, `in_context`,
    /// `representation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullPromptMeanCe => "full_prompt_mean_ce",
            Self::SuffixMeanCe => "suffix_mean_ce",
            Self::MultipleChoice => "multiple_choice",
            Self::Cloze => "cloze",
            Self::Perplexity => "perplexity",
            Self::Generation => "generation",
            Self::Code => "code",
            Self::InContext => "in_context",
            Self::Representation => "representation",
        }
    }

    /// Whether the model writes its answers.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self, Self::Generation | Self::Code)
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether an item has several choices, of which one is right.
    pub(crate) fn has_choices(self) -> bool {
        matches!(self, Self::MultipleChoice | Self::FullPromptMeanCe | Self::SuffixMeanCe)
    }

    /// The scorer and its version; with another, scores can't be compared.
    pub(crate) fn scorer(self) -> &'static str {
        match self {
            Self::MultipleChoice | Self::Cloze | Self::Perplexity => "loglikelihood/1",
            Self::FullPromptMeanCe => "full_prompt_mean_ce/1",
            Self::SuffixMeanCe => "suffix_mean_ce/1",
            Self::Generation => "generation/1",
            Self::Code => "code/1",
            Self::InContext => "in_context/1",
            Self::Representation => "debiased_cka/1",
        }
    }
}

/// When in training a task is known to leave chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rises {
    /// Within the first tenth of a run, or in small models.
    Early,
    /// Only after most of a run, or in large models.
    Late,
}

/// What an answer of an in-context item is given to.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What the model reads before the answer, with one space between them.
    pub text: String,
    /// The log-probability of the answer, in nats, to the best learner: one that knows what can be asked, and has seen the same examples.
    pub optimal_logprob: f64,
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// What the model reads first.
    pub context: String,
    /// What could follow. The scorer puts one space between the context and each, except in [`Kind::Perplexity`].
    pub choices: Vec<String>,
    /// Where the choices are beginnings that belong to the context: the end that follows each of them, and is scored in their stead
    /// (partial evaluation, as of `WinoGrande`; Trinh and Le, 2018).
    pub continuation: Option<String>,
    /// Where the scored text is a rewriting of another ([`Kind::Perplexity`]): that other one, whose bytes and words count.
    pub original: Option<String>,
    /// In in-context tasks, what each of the choices answers.
    pub questions: Vec<Question>,
    /// Which of the choices is right, from 0; in in-context tasks, where all are, the last.
    pub gold: usize,
    /// Which other choices are right too; only [`gold`](Self::gold) counts for what is measured of one choice.
    pub also_right: Vec<usize>,
    /// Answers that are accepted as right ([`Kind::Generation`]).
    pub answers: Vec<String>,
    /// What makes a program of an answer ([`Kind::Code`]).
    pub program: Option<Program>,
    /// What the item shares with others of the task that are answered well or badly together with it: a passage, a subject, a fact. `None`
    /// if it shares nothing.
    pub cluster: Option<String>,
}

impl Task {
    /// Refuses what cannot be scored: no items, an item without enough choices, an empty choice, a gold that is no choice.
    pub(crate) fn check(&self) -> Result<(), ProbeError> {
        let wrong =
            |message: &str| Err(ProbeError::Task { task: self.name.clone(), message: message.into() });
        if self.items.is_empty() {
            return wrong("it has no items");
        }
        if self.unconditional.is_some() && self.kind != Kind::MultipleChoice {
            return wrong("only the choices of a multiple_choice task are scored without their context");
        }
        if self.kind.is_written() != self.generation.is_some() {
            return wrong("expected rules of generation if, and only if, the model writes the answers");
        }
        if let Some(problem) = self.generation.as_ref().and_then(|rules| rules.problem(self.kind)) {
            return wrong(&problem);
        }
        for (index, item) in self.items.iter().enumerate() {
            if let Some(message) = item.problem(self.kind) {
                return Err(ProbeError::Item { task: self.name.clone(), item: index, message });
            }
        }
        Ok(())
    }

    /// The number of each item's cluster: clusters are counted from 0 in the order in which they first occur.
    pub(crate) fn cluster_numbers(&self) -> Vec<Option<u32>> {
        let mut numbers = BTreeMap::new();
        let mut number = |cluster| {
            let next = numbers.len() as u32;
            *numbers.entry(cluster).or_insert(next)
        };
        self.items.iter().map(|item| item.cluster.as_ref().map(&mut number)).collect()
    }

    /// BLAKE3 over kind and items, in their order.
    pub(crate) fn data_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(self.kind.name());
        for item in &self.items {
            part(&item.context);
            part(&format!("{} {}", item.choices.len(), item.gold));
            item.choices.iter().for_each(|choice| part(choice));
            if !item.answers.is_empty() {
                part(&format!("{} answers", item.answers.len()));
                item.answers.iter().for_each(|answer| part(answer));
            }
            if let Some(program) = &item.program {
                part("program");
                part(&program.before);
                part(&program.tests);
            }
            if !item.also_right.is_empty() {
                part(&format!("also right {:?}", item.also_right));
            }
            item.cluster.iter().for_each(|cluster| part(cluster));
            item.questions.iter().for_each(|question| part(&question.text));
            for (name, text) in [("continuation", &item.continuation), ("original", &item.original)] {
                if let Some(text) = text {
                    part(name);
                    part(text);
                }
            }
        }
        if self.target_delimiter != TARGET_DELIMITER {
            part("delimiter");
            part(&self.target_delimiter);
        }
        if let Some(context) = &self.unconditional {
            part("unconditional");
            part(context);
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl Item {
    /// What the model reads and what is scored after it, for the choice of this number.
    pub(crate) fn pair(&self, choice: usize) -> (Cow<'_, str>, &str) {
        let text = &self.choices[choice];
        match &self.continuation {
            None => (Cow::from(&self.context), text),
            Some(continuation) => (Cow::from(format!("{}{text}", self.context)), continuation),
        }
    }

    /// Question and answer, as they stand in an example.
    pub(crate) fn solved(&self, delimiter: &str) -> String {
        let (context, answer) = self.pair(self.gold);
        format!("{context}{delimiter}{answer}")
    }

    /// The text whose characters, bytes and words the score of a choice is measured by.
    pub(crate) fn measured(&self, choice: usize) -> &str {
        self.original.as_deref().unwrap_or(self.pair(choice).1)
    }

    /// The accuracy of guessing among the choices.
    pub(crate) fn guess(&self) -> f64 {
        (1 + self.also_right.len()) as f64 / self.choices.len() as f64
    }

    /// All choices that are right.
    fn right(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.gold).chain(self.also_right.iter().copied())
    }

    fn problem(&self, kind: Kind) -> Option<String> {
        let choices = self.choices.len();
        match kind {
            _ if kind.has_choices() && choices < 2 => {
                Some(format!("expected at least 2 choices, found {choices}"))
            }
            _ if self.continuation.is_some()
                && !matches!(kind, Kind::MultipleChoice | Kind::SuffixMeanCe) =>
            {
                Some("expected no continuation after the choice".into())
            }
            _ if self.continuation.as_ref().is_some_and(String::is_empty) => {
                Some("its continuation is empty".into())
            }
            Kind::Generation => {
                self.answers.is_empty().then(|| "expected at least 1 accepted answer, found none".into())
            }
            Kind::Code => self
                .program
                .as_ref()
                .is_none_or(|program| program.tests.trim().is_empty())
                .then(|| "expected tests of the program, found none".into()),
            Kind::InContext if choices == 0 || self.questions.len() != choices => Some(format!(
                "expected a question for each of {choices} answers, found {}",
                self.questions.len()
            )),
            Kind::Cloze | Kind::Perplexity | Kind::Representation if choices != 1 => {
                Some(format!("expected 1 choice, found {choices}"))
            }
            Kind::Perplexity | Kind::Representation if !self.context.is_empty() => {
                Some("expected no context before the text".into())
            }
            _ if self.right().any(|right| right >= choices) => {
                let wrong = self.right().find(|right| *right >= choices).unwrap_or(self.gold);
                Some(format!("gold is choice {wrong}, but there are {choices}"))
            }
            _ => {
                self.choices.iter().position(String::is_empty).map(|empty| format!("choice {empty} is empty"))
            }
        }
    }
}

impl From<&fineline_tinyworld::Task> for Task {
    fn from(task: &fineline_tinyworld::Task) -> Self {
        Self {
            name: task.name.to_owned(),
            domain: task.domain.to_owned(),
            kind: match task.kind {
                fineline_tinyworld::Kind::MultipleChoice => Kind::MultipleChoice,
                fineline_tinyworld::Kind::Cloze => Kind::Cloze,
                fineline_tinyworld::Kind::Perplexity => Kind::Perplexity,
            },
            shots: task.shots,
            chance: task.chance,
            rises: None,
            source: Some("tinyworld".to_owned()),
            licence: None,
            version: None,
            unconditional: None,
            target_delimiter: TARGET_DELIMITER.to_owned(),
            generation: None,
            template: String::new(),
            items: task
                .items
                .iter()
                .map(|item| Item {
                    context: item.context.clone(),
                    choices: item.choices.clone(),
                    gold: item.gold,
                    cluster: item.cluster.clone(),
                    ..Item::default()
                })
                .collect(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A task of `(context, choices, gold)`, with chance level 0.5.
    pub(crate) fn task(kind: Kind, items: &[(&str, &[&str], usize)]) -> Task {
        let item = |&(context, choices, gold): &(&str, &[&str], usize)| Item {
            context: context.to_owned(),
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            gold,
            ..Item::default()
        };
        Task {
            name: "test".into(),
            domain: "testing".into(),
            kind,
            shots: 0,
            chance: kind.has_choices().then_some(0.5),
            rises: None,
            source: None,
            licence: None,
            version: None,
            unconditional: None,
            target_delimiter: TARGET_DELIMITER.to_owned(),
            generation: None,
            template: String::new(),
            items: items.iter().map(item).collect(),
        }
    }

    #[track_caller]
    fn assert_refused(kind: Kind, item: (&str, &[&str], usize), expected: &str) {
        let message = task(kind, &[("a", &["b", "c"][..if kind.has_choices() { 2 } else { 1 }], 0), item])
            .check()
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_cannot_be_scored_is_refused_with_the_items_index() {
        assert_refused(Kind::MultipleChoice, ("a", &["b"], 0), "item 1: expected at least 2 choices");
        assert_refused(Kind::MultipleChoice, ("a", &["b", "c"], 2), "item 1: gold is choice 2");
        assert_refused(Kind::MultipleChoice, ("a", &["b", ""], 0), "item 1: choice 1 is empty");
        assert_refused(Kind::Cloze, ("a", &[], 0), "item 1: expected 1 choice, found 0");
        assert_refused(Kind::FullPromptMeanCe, ("a", &["b"], 0), "item 1: expected at least 2 choices");
        let mut partial = task(Kind::MultipleChoice, &[("", &["a", "b"], 0)]);
        partial.items[0].continuation = Some(String::new());
        assert!(partial.check().unwrap_err().to_string().contains("its continuation is empty"));
        partial.kind = Kind::FullPromptMeanCe;
        assert!(partial.check().unwrap_err().to_string().contains("expected no continuation"));
        partial.unconditional = Some(String::new());
        assert!(partial.check().unwrap_err().to_string().contains("only the choices of a multiple_choice"));
        let empty = task(Kind::Cloze, &[]).check().unwrap_err().to_string();
        assert_eq!(empty, "task `test`: it has no items");
    }

    #[test]
    fn the_hash_sees_every_part_of_an_item() {
        let hash = |items: &[(&str, &[&str], usize)]| task(Kind::MultipleChoice, items).data_hash();
        let original = hash(&[("a", &["b", "c"], 0)]);
        assert_eq!(original, hash(&[("a", &["b", "c"], 0)]));
        for changed in [
            hash(&[("a", &["b", "c"], 1)]),
            hash(&[("ab", &["", "c"], 0)]),
            hash(&[("a", &["c", "b"], 0)]),
            hash(&[("a", &["b", "c"], 0), ("a", &["b", "c"], 0)]),
        ] {
            assert_ne!(original, changed);
        }
        let mut clustered = task(Kind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        clustered.items[0].cluster = Some("d".into());
        assert_ne!(original, clustered.data_hash());
        let mut partial = task(Kind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        partial.items[0].continuation = Some("d".into());
        assert!(![original.clone(), clustered.data_hash()].contains(&partial.data_hash()));
        let mut informed = task(Kind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        informed.unconditional = Some(String::new());
        assert_ne!(original, informed.data_hash());
    }

    #[test]
    fn a_continuation_takes_the_choices_place() {
        let whole = task(Kind::MultipleChoice, &[("a", &["b", "c"], 0)]).items.remove(0);
        assert_eq!(whole.pair(1), ("a".into(), "c"));
        let partial = Item { continuation: Some("是 d".into()), ..whole };
        assert_eq!(partial.pair(1), ("ac".into(), "是 d"));
        assert_eq!(partial.measured(0), "是 d");
        let rewritten =
            Item { choices: vec!["a-b".into()], original: Some("a @-@ b".into()), ..Item::default() };
        assert_eq!(rewritten.measured(0), "a @-@ b");
    }

    #[test]
    fn clusters_are_numbered_as_they_occur() {
        let mut task = task(Kind::Cloze, &[("a", &["b"][..], 0); 5]);
        for (item, cluster) in task.items.iter_mut().zip([Some("z"), None, Some("a"), Some("z"), None]) {
            item.cluster = cluster.map(str::to_owned);
        }
        assert_eq!(task.cluster_numbers(), [Some(0), None, Some(1), Some(0), None]);
    }

    #[test]
    fn kinds_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!(Kind::from_name("essay"), None);
    }
}
