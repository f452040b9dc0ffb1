//! Metrics of multiple-choice tasks.

use crate::metrics::accuracy::picks_gold;
use crate::metrics::choice_score::{gained_by_context, per_byte, per_char, sum};
use crate::metrics::item_metric::{ItemMeasure, ItemMetric, loss, metric};
use crate::metrics::item_rows::gold;
use crate::metrics::loss::BITS_PER_BYTE_OF_GOLD;
use crate::metrics::probability::{
    brier, log_softmax_of_gold, margin_per_char, prob_of_right, total_prob_per_char,
};

pub(crate) const MULTIPLE_CHOICE: &[ItemMetric] = &[
    metric("acc", ItemMeasure::Outcome(|item| picks_gold(item, sum))),
    metric("acc_norm", ItemMeasure::Outcome(|item| picks_gold(item, per_char))),
    metric("acc_bytes", ItemMeasure::Outcome(|item| picks_gold(item, per_byte))),
    metric("prob", ItemMeasure::Score(|item| log_softmax_of_gold(item, sum).exp())),
    metric("log_prob", ItemMeasure::Score(|item| log_softmax_of_gold(item, sum))),
    loss("brier", ItemMeasure::Score(brier)),
    metric("prob_per_char", ItemMeasure::Score(|item| log_softmax_of_gold(item, per_char).exp())),
    metric("correct_prob_per_char", ItemMeasure::Score(|item| per_char(gold(item)).exp())),
    metric("total_prob_per_char", ItemMeasure::Score(total_prob_per_char)),
    metric("margin_per_char", ItemMeasure::Score(margin_per_char)),
    BITS_PER_BYTE_OF_GOLD,
];

pub(crate) const MUTUAL_INFORMATION: &[ItemMetric] =
    &[metric("acc_mutual_info", ItemMeasure::Outcome(|item| picks_gold(item, gained_by_context)))];

pub(crate) const SEVERAL_RIGHT: &[ItemMetric] = &[metric("prob_of_right", ItemMeasure::Score(prob_of_right))];
