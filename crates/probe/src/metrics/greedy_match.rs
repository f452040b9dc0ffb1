//! Metrics of greedy-match tasks.

use crate::metrics::item_metric::{ItemMeasure, ItemMetric, metric, perplexity};
use crate::metrics::item_rows::gold;
use crate::metrics::loss::{BITS_PER_BYTE_OF_GOLD, nats_of_gold};

pub(crate) const GREEDY_MATCH: &[ItemMetric] = &[
    metric("acc", ItemMeasure::Outcome(|item| gold(item).logprob.is_finite().then_some(gold(item).greedy))),
    perplexity("perplexity", ItemMeasure::Score(nats_of_gold)),
    BITS_PER_BYTE_OF_GOLD,
];
