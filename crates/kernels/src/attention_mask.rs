//! The keys that each query may attend to.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Keys that each query of a batch may attend to.
///
/// With a cache there are more keys than queries. The queries are then the last ones: query `i` is at key
/// `keys - queries + i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttentionMask {
    /// All keys up to the query itself.
    Causal,
    /// One span per query, row-major `[batch, queries]`.
    Spans(Vec<KeySpan>),
}

/// Keys that one query attends to: those in `prefix`, and those from `own_start` up to the query itself.
///
/// Expresses packed documents (an empty prefix, and `own_start` at the document's first token), texts that
/// share a context (the context is the prefix, and `own_start` the text's first token), and left padding
/// (`own_start` after the padding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpan {
    /// Range of key indices that the query attends to in addition to its own text.
    pub prefix: Range<u32>,
    /// Index of the first key of the query's own text. A query always attends to itself, even if it precedes
    /// this index.
    pub own_start: u32,
}

impl KeySpan {
    /// Returns whether the query at key index `query` attends to `key`.
    #[must_use]
    pub fn allows(&self, query: usize, key: usize) -> bool {
        let own_start = (self.own_start as usize).min(query);
        key <= query
            && (key >= own_start || (self.prefix.start as usize..self.prefix.end as usize).contains(&key))
    }
}

impl AttentionMask {
    /// Returns the mask as `[batch or 1, 1, queries, keys]`, true where a key is masked out.
    pub(crate) fn masked_out(&self, queries: usize, keys: usize, device: &Device) -> Tensor<4, Bool> {
        let offset = keys - queries;
        let mut masked_out = Vec::new();
        match self {
            Self::Causal => {
                for query in offset..keys {
                    masked_out.extend((0..keys).map(|key| key > query));
                }
            }
            Self::Spans(spans) => {
                for (i, span) in spans.iter().enumerate() {
                    let query = offset + i % queries;
                    masked_out.extend((0..keys).map(|key| !span.allows(query, key)));
                }
            }
        }
        let rows = masked_out.len() / (queries * keys);
        Tensor::from_data(TensorData::new(masked_out, [rows, 1, queries, keys]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_its_prefix_and_its_own_text() {
        let span = KeySpan { prefix: 0..2, own_start: 4 };
        let seen: Vec<usize> = (0..8).filter(|&key| span.allows(5, key)).collect();
        assert_eq!(seen, [0, 1, 4, 5]);
    }

    #[test]
    fn every_query_sees_itself_and_nothing_later() {
        let span = KeySpan { prefix: 0..9, own_start: 7 };
        let seen: Vec<usize> = (0..9).filter(|&key| span.allows(3, key)).collect();
        assert_eq!(seen, [0, 1, 2, 3]);
        let blind = KeySpan { prefix: 0..0, own_start: 7 };
        let seen: Vec<usize> = (0..9).filter(|&key| blind.allows(3, key)).collect();
        assert_eq!(seen, [3]);
    }

    #[test]
    fn queries_are_the_last_keys() {
        let masked_out = AttentionMask::Causal.masked_out(2, 4, &Device::flex());
        let masked_out: Vec<bool> = masked_out.into_data().iter::<bool>().collect();
        assert_eq!(masked_out, [false, false, false, true, false, false, false, false]);
    }
}
