//! The scores of a choice of an item.

use std::sync::Arc;

use crate::tasks::kind::TaskKind;

/// How a choice of an item was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// The task.
    pub task: Arc<str>,
    /// How the task's items are scored.
    pub kind: TaskKind,
    /// The item's index in the task's whole data: the same in every subset.
    pub item: u32,
    /// Items of the task with the same number share a passage, a subject or a fact: errors count them together. The same in every subset.
    pub cluster: Option<u32>,
    /// The choice, from 0.
    pub choice: u32,
    /// The right choice of the item.
    pub gold: u32,
    /// Sum of the tokens' log-probabilities, in nats. NaN where the model's were.
    pub logprob: f64,
    /// The part of it that belongs to tokens with bytes, where others (EOS) are scored too.
    pub byte_logprob: Option<f64>,
    /// The same sum where the choice follows the context that all items share, in tasks that ask for it.
    pub unconditional_logprob: Option<f64>,
    /// In in-context tasks: the log-probability of the answer to the best learner of the family that the function is drawn from.
    pub optimal_logprob: Option<f64>,
    /// Tokens scored.
    pub n_tokens: u32,
    /// Characters (Unicode scalar values) of the scored text, without the space before it: of the choice, or of what continues it.
    pub n_chars: u32,
    /// UTF-8 bytes of the same.
    pub n_bytes: u32,
    /// Words of the same, in perplexity tasks.
    pub n_words: Option<u32>,
    /// Whether each token was the likeliest one.
    pub greedy: bool,
    /// The answer, in tasks where the model writes one.
    pub text: Option<String>,
    /// Whether that answer is right.
    pub correct: Option<bool>,
    /// The filter that took from the answer what was judged, where the task names filters.
    pub filter: Option<String>,
    /// What it took.
    pub answer: Option<String>,
    /// A score of what was judged, where the task has one (`f1`).
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

    /// Whether the model gave the choice numbers.
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
