//! Scores by which choices are ranked: log-likelihoods under several normalizations.

use crate::items::item_row::ItemRow;

pub(crate) fn sum(row: &ItemRow) -> f64 {
    row.logprob
}

pub(crate) fn per_char(row: &ItemRow) -> f64 {
    row.logprob / f64::from(row.n_chars)
}

pub(crate) fn per_byte(row: &ItemRow) -> f64 {
    row.logprob / f64::from(row.n_bytes)
}

/// Increase of the log-probability by the item's context.
pub(crate) fn gained_by_context(row: &ItemRow) -> f64 {
    row.logprob - row.unconditional_logprob.unwrap_or(f64::NAN)
}

/// Sum over the scored tokens divided by the number of all tokens, which is one more.
pub(crate) fn mean_over_prompt(row: &ItemRow) -> f64 {
    row.logprob / (f64::from(row.n_tokens) + 1.0)
}

/// Mean over the scored tokens.
pub(crate) fn mean_over_suffix(row: &ItemRow) -> f64 {
    row.logprob / f64::from(row.n_tokens)
}

/// The `score` of each choice, in order. `None` if one of them is not finite.
pub(crate) fn scores(item: &[ItemRow], score: fn(&ItemRow) -> f64) -> Option<Vec<f64>> {
    item.iter().map(|row| Some(score(row)).filter(|score| score.is_finite())).collect()
}
