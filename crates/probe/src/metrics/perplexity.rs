//! Metrics of texts that are predicted from their beginning.

use crate::metrics::item_metric::{ItemMeasure, ItemMetric, loss, perplexity};
use crate::metrics::item_rows::gold;
use crate::metrics::loss::{bits_of_bytes, nats_of_bytes, nats_of_gold};

pub(crate) const PERPLEXITY: &[ItemMetric] = &[
    loss("bits_per_byte", ItemMeasure::Ratio(|item| (nats_of_bytes(item), bits_of_bytes(item)))),
    perplexity(
        "token_perplexity",
        ItemMeasure::Ratio(|item| (nats_of_gold(item), f64::from(gold(item).n_tokens))),
    ),
    perplexity(
        "byte_perplexity",
        ItemMeasure::Ratio(|item| (nats_of_bytes(item), f64::from(gold(item).n_bytes))),
    ),
];

pub(crate) const OF_WORDS: &[ItemMetric] = &[perplexity(
    "word_perplexity",
    ItemMeasure::Ratio(|item| (nats_of_gold(item), gold(item).n_words.map_or(f64::NAN, f64::from))),
)];
