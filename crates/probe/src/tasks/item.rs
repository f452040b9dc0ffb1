//! A question of a task.

use std::borrow::Cow;

use crate::tasks::generation_rules::TestProgram;
use crate::tasks::kind::TaskKind;

/// What an answer of an in-context item is given to.
#[derive(Clone, Debug, PartialEq)]
pub struct InContextQuestion {
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
    /// What could follow. The scorer puts one space between the context and each, except in [`TaskKind::Perplexity`].
    pub choices: Vec<String>,
    /// Where the choices are beginnings that belong to the context: the end that follows each of them, and is scored in their stead
    /// (partial evaluation, as of `WinoGrande`; Trinh and Le, 2018).
    pub continuation: Option<String>,
    /// Where the scored text is a rewriting of another ([`TaskKind::Perplexity`]): that other one, whose bytes and words count.
    pub original: Option<String>,
    /// In in-context tasks, what each of the choices answers.
    pub questions: Vec<InContextQuestion>,
    /// Which of the choices is right, from 0; in in-context tasks, where all are, the last.
    pub gold: usize,
    /// Which other choices are right too; only [`gold`](Self::gold) counts for what is measured of one choice.
    pub other_gold: Vec<usize>,
    /// Answers that are accepted as right ([`TaskKind::Generation`]).
    pub answers: Vec<String>,
    /// What makes a program of an answer ([`TaskKind::Code`]).
    pub program: Option<TestProgram>,
    /// What the item shares with others of the task that are answered well or badly together with it: a passage, a subject, a fact. `None`
    /// if it shares nothing.
    pub cluster: Option<String>,
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
    pub(crate) fn chance(&self) -> f64 {
        (1 + self.other_gold.len()) as f64 / self.choices.len() as f64
    }

    /// All choices that are right.
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
