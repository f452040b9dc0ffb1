//! Accuracy: whether the choice with the highest score is correct.

use crate::items::item_row::ItemRow;
use crate::metrics::choice_score::scores;

/// Whether the choice with the highest `score` is correct. Among equal scores, the first choice counts.
pub(crate) fn picks_gold(item: &[ItemRow], score: fn(&ItemRow) -> f64) -> Option<bool> {
    let scores = scores(item, score)?;
    let mut best = 0;
    for (choice, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = choice;
        }
    }
    Some(is_right(&item[best]))
}

/// Whether the choice is correct (one of several may be).
pub(crate) fn is_right(row: &ItemRow) -> bool {
    row.correct.unwrap_or(row.choice == row.gold)
}
