//! Loss of the correct choice.

use std::f64::consts::LN_2;

use crate::items::item_row::ItemRow;
use crate::metrics::item_metric::{ItemMeasure, ItemMetric, loss};
use crate::metrics::item_rows::gold;

/// Bits per byte of the correct choice, as a mean over items.
pub(crate) const BITS_PER_BYTE_OF_GOLD: ItemMetric =
    loss("bits_per_byte", ItemMeasure::Score(|item| nats_of_gold(item) / bits_of_bytes(item)));

pub(crate) fn nats_of_gold(item: &[ItemRow]) -> f64 {
    -gold(item).logprob
}

/// Nats without the tokens that have no bytes in the text.
pub(crate) fn nats_of_bytes(item: &[ItemRow]) -> f64 {
    let gold = gold(item);
    -gold.byte_logprob.unwrap_or(gold.logprob)
}

/// Number of bytes of the correct choice times `ln 2`, which turns nats into bits per byte.
pub(crate) fn bits_of_bytes(item: &[ItemRow]) -> f64 {
    f64::from(gold(item).n_bytes) * LN_2
}
