//! The scores of one choice of an item.

use std::sync::Arc;

use crate::tasks::kind::TaskKind;

/// The scores of one choice of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// The task.
    pub task: Arc<str>,
    /// How the task's items are scored.
    pub kind: TaskKind,
    /// Index of the item in the complete data of the task. It is the same in every subset.
    pub item: u32,
    /// Items with the same number share a passage, a subject or a fact. Standard errors are clustered by it.
    /// It is the same in every subset.
    pub cluster: Option<u32>,
    /// The choice, counted from 0.
    pub choice: u32,
    /// The correct choice of the item.
    pub gold: u32,
    /// Sum of the log-probabilities of the tokens, in nats. NaN if the model's are.
    pub logprob: f64,
    /// The part of `logprob` that belongs to tokens with bytes, if other tokens (EOS) are scored too.
    pub byte_logprob: Option<f64>,
    /// The log-probability after the context shared by all items, in tasks that use it.
    pub unconditional_logprob: Option<f64>,
    /// In-context tasks: log-probability of the answer under the optimal learner, which knows the family of
    /// functions.
    pub optimal_logprob: Option<f64>,
    /// Number of scored tokens.
    pub n_tokens: u32,
    /// Number of characters (Unicode scalar values) of the scored text (the choice, or the continuation after
    /// it), without the space before it.
    pub n_chars: u32,
    /// Number of UTF-8 bytes of the scored text.
    pub n_bytes: u32,
    /// Number of words of the scored text, in perplexity tasks.
    pub n_words: Option<u32>,
    /// Whether each token is the model's most likely one.
    pub greedy: bool,
    /// The generated answer, in tasks with generated answers.
    pub text: Option<String>,
    /// Whether the answer is correct.
    pub correct: Option<bool>,
    /// Name of the filter that extracted `answer`, if the task has filters.
    pub filter: Option<String>,
    /// The text that the filter extracted.
    pub answer: Option<String>,
    /// Score of the extracted text, if the task has one (`f1`).
    pub score: Option<f64>,
}

impl ItemRow {
    /// A row of the first choice of an item, without scores.
    #[must_use]
    pub fn new(task: &Arc<str>, kind: TaskKind, item: u32) -> Self {
        Self {
            task: Arc::clone(task),
            kind,
            item,
            cluster: None,
            choice: 0,
            gold: 0,
            logprob: 0.0,
            byte_logprob: None,
            unconditional_logprob: None,
            optimal_logprob: None,
            n_tokens: 0,
            n_chars: 0,
            n_bytes: 0,
            n_words: None,
            greedy: false,
            text: None,
            correct: None,
            filter: None,
            answer: None,
            score: None,
        }
    }

    /// Whether the log-probabilities are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.logprob.is_finite() && self.unconditional_logprob.is_none_or(f64::is_finite)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(kind: TaskKind, item: u32, choice: u32, gold: u32, logprob: f64) -> ItemRow {
        ItemRow {
            choice,
            gold,
            logprob,
            n_tokens: 2,
            n_chars: 3,
            n_bytes: 4,
            ..ItemRow::new(&"test".into(), kind, item)
        }
    }
}
