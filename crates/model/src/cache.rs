use burn::tensor::Tensor;

/// Keys and values of the tokens a model has seen, so that the next ones need not see them again.
///
/// Clones share their contents until one of them is extended: a context can be computed once and continued in several ways.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    layers: Vec<(Tensor<4>, Tensor<4>)>,
}

impl KvCache {
    /// A cache that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of tokens seen by each row.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |(k, _)| k.dims()[1])
    }

    /// Whether nothing has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Appends `[batch, time, kv_heads, head_dim]` to a layer and returns all of its keys and values.
    pub(crate) fn append(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        if layer == self.layers.len() {
            self.layers.push((k, v));
        } else {
            let (past_k, past_v) = self.layers[layer].clone();
            self.layers[layer] = (Tensor::cat(vec![past_k, k], 1), Tensor::cat(vec![past_v, v], 1));
        }
        self.layers[layer].clone()
    }
}
