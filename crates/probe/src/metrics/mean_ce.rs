//! Metrics of choices ranked by mean cross-entropy.

use crate::metrics::accuracy::picks_gold;
use crate::metrics::choice_score::{mean_over_prompt, mean_over_suffix};
use crate::metrics::item_metric::{ItemMeasure, ItemMetric, loss, metric};
use crate::metrics::item_rows::gold;
use crate::metrics::probability::log_softmax_of_gold;

pub(crate) const FULL_PROMPT: &[ItemMetric] = &[
    metric("acc", ItemMeasure::Outcome(|item| picks_gold(item, mean_over_prompt))),
    metric("prob", ItemMeasure::Score(|item| log_softmax_of_gold(item, mean_over_prompt).exp())),
    loss("mean_ce", ItemMeasure::Score(|item| -mean_over_prompt(gold(item)))),
];

pub(crate) const SUFFIX: &[ItemMetric] = &[
    metric("acc", ItemMeasure::Outcome(|item| picks_gold(item, mean_over_suffix))),
    metric("prob", ItemMeasure::Score(|item| log_softmax_of_gold(item, mean_over_suffix).exp())),
    loss("mean_ce", ItemMeasure::Score(|item| -mean_over_suffix(gold(item)))),
];
