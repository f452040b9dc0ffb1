//! Probabilities of choices.

use crate::items::item_row::ItemRow;
use crate::metrics::accuracy::is_right;
use crate::metrics::choice_score::{per_char, scores, sum};
use crate::metrics::item_rows::gold;

/// Total probability of the correct choices under the softmax of the log-likelihoods.
pub(crate) fn prob_of_right(item: &[ItemRow]) -> f64 {
    let shares = log_softmax(item, sum).unwrap_or_else(|| vec![f64::NAN; item.len()]);
    item.iter().zip(shares).filter(|(row, _)| is_right(row)).map(|(_, share)| share.exp()).sum()
}

/// Log-softmax of the choices' `score`. `None` if one of them is not finite.
pub(crate) fn log_softmax(item: &[ItemRow], score: fn(&ItemRow) -> f64) -> Option<Vec<f64>> {
    let scores = scores(item, score)?;
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + scores.iter().map(|score| (score - max).exp()).sum::<f64>().ln();
    Some(scores.into_iter().map(|score| score - log_sum).collect())
}

pub(crate) fn log_softmax_of_gold(item: &[ItemRow], score: fn(&ItemRow) -> f64) -> f64 {
    let shares = log_softmax(item, score);
    let right = item.iter().position(|row| row.choice == row.gold).unwrap_or(0);
    shares.map_or(f64::NAN, |shares| shares[right])
}

pub(crate) fn brier(item: &[ItemRow]) -> f64 {
    let Some(shares) = log_softmax(item, sum) else { return f64::NAN };
    let truth = item.iter().map(|row| f64::from(u8::from(row.choice == row.gold)));
    shares.iter().zip(truth).map(|(share, truth)| (share.exp() - truth).powi(2)).sum()
}

pub(crate) fn total_prob_per_char(item: &[ItemRow]) -> f64 {
    scores(item, per_char).map_or(f64::NAN, |scores| scores.iter().map(|score| score.exp()).sum())
}

/// Per-character probability of the correct choice minus that of the most likely wrong one.
pub(crate) fn margin_per_char(item: &[ItemRow]) -> f64 {
    let Some(scores) = scores(item, per_char) else { return f64::NAN };
    let wrong = item.iter().zip(scores).filter(|(row, _)| row.choice != row.gold);
    let best_wrong = wrong.map(|(_, score)| score).fold(f64::NEG_INFINITY, f64::max);
    per_char(gold(item)).exp() - best_wrong.exp()
}
