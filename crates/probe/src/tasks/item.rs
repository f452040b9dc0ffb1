//! An item of a task.

use std::borrow::Cow;

use crate::tasks::generation_rules::TestProgram;
use crate::tasks::kind::TaskKind;

/// The question of an answer in an in-context item.
#[derive(Clone, Debug, PartialEq)]
pub struct InContextQuestion {
    /// Text that the model reads before the answer, separated by one space.
    pub text: String,
    /// Log-probability of the answer, in nats, under the optimal learner: one that knows the family of
    /// functions, and has seen the same examples.
    pub optimal_logprob: f64,
}

/// An item of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Text that the model reads first.
    pub context: String,
    /// Possible continuations. The scorer puts one space between the context and each, except in
    /// [`TaskKind::Perplexity`].
    pub choices: Vec<String>,
    /// If the choices are parts of the context: the ending that follows each of them, and is scored in their
    /// place (partial evaluation, as in `WinoGrande`; Trinh and Le, 2018).
    pub continuation: Option<String>,
    /// If the scored text is derived from another one ([`TaskKind::Perplexity`]): the original, whose bytes
    /// and words are counted.
    pub original: Option<String>,
    /// In in-context tasks, the question of each choice.
    pub questions: Vec<InContextQuestion>,
    /// Index of the correct choice. In in-context tasks, where all are correct, the last one.
    pub gold: usize,
    /// Other correct choices. Metrics of a single choice use [`gold`](Self::gold) only.
    pub other_gold: Vec<usize>,
    /// Accepted answers ([`TaskKind::Generation`]).
    pub answers: Vec<String>,
    /// Turns an answer into a program ([`TaskKind::Code`]).
    pub program: Option<TestProgram>,
    /// Name of the cluster of items whose scores are correlated: those of one passage, subject or fact.
    /// `None` if the item is independent of all others.
    pub cluster: Option<String>,
}

impl Item {
    /// Context and scored text of a choice.
    pub(crate) fn pair(&self, choice: usize) -> (Cow<'_, str>, &str) {
        let text = &self.choices[choice];
        match &self.continuation {
            None => (Cow::from(&self.context), text),
            Some(continuation) => (Cow::from(format!("{}{text}", self.context)), continuation),
        }
    }

    /// Question and answer as they appear in a few-shot example.
    pub(crate) fn solved(&self, delimiter: &str) -> String {
        let (context, answer) = self.pair(self.gold);
        format!("{context}{delimiter}{answer}")
    }

    /// The text whose characters, bytes and words normalize the score of a choice.
    pub(crate) fn measured(&self, choice: usize) -> &str {
        self.original.as_deref().unwrap_or(self.pair(choice).1)
    }

    /// Accuracy of guessing among the choices.
    pub(crate) fn chance(&self) -> f64 {
        (1 + self.other_gold.len()) as f64 / self.choices.len() as f64
    }

    /// All correct choices.
    fn correct_choices(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.gold).chain(self.other_gold.iter().copied())
    }

    pub(crate) fn problem(&self, kind: TaskKind) -> Option<String> {
        let choices = self.choices.len();
        match kind {
            _ if kind.has_choices() && choices < 2 => {
                Some(format!("expected at least 2 choices, found {choices}"))
            }
            _ if self.continuation.is_some()
                && !matches!(kind, TaskKind::MultipleChoice | TaskKind::SuffixMeanCe) =>
            {
                Some("expected no continuation after the choice".into())
            }
            _ if self.continuation.as_ref().is_some_and(String::is_empty) => {
                Some("its continuation is empty".into())
            }
            TaskKind::Generation => {
                self.answers.is_empty().then(|| "expected at least 1 accepted answer, found none".into())
            }
            TaskKind::Code => self
                .program
                .as_ref()
                .is_none_or(|program| program.tests.trim().is_empty())
                .then(|| "expected tests of the program, found none".into()),
            TaskKind::InContext if choices == 0 || self.questions.len() != choices => Some(format!(
                "expected a question for each of {choices} answers, found {}",
                self.questions.len()
            )),
            TaskKind::GreedyMatch | TaskKind::Perplexity | TaskKind::Representation if choices != 1 => {
                Some(format!("expected 1 choice, found {choices}"))
            }
            TaskKind::Perplexity | TaskKind::Representation if !self.context.is_empty() => {
                Some("expected no context before the text".into())
            }
            _ if self.correct_choices().any(|right| right >= choices) => {
                let wrong = self.correct_choices().find(|right| *right >= choices).unwrap_or(self.gold);
                Some(format!("gold is choice {wrong}, but there are {choices}"))
            }
            _ => {
                self.choices.iter().position(String::is_empty).map(|empty| format!("choice {empty} is empty"))
            }
        }
    }
}
