//! Parameters, operations and memory of a model, computed from its configuration.

use fineline_kernels::logits_chunk;

use super::config::LlamaConfig;

impl LlamaConfig {
    /// Number of trainable values. A tied head counts once.
    #[must_use]
    pub fn parameter_count(&self) -> u64 {
        self.parameters().iter().map(|spec| spec.len() as u64).sum()
    }

    /// Size of the parameters in float32, in bytes. Gradients, and each of the two AdamW states, take as much
    /// again.
    #[must_use]
    pub fn parameter_bytes(&self) -> u64 {
        4 * self.parameter_count()
    }

    /// Floating-point operations of training per token, for sequences of `time` tokens: `6 N + 12 L H T`.
    ///
    /// `N` is the number of values in matrices that tokens are multiplied with, which excludes the embedding
    /// look-up and the norms. Each costs two operations forward, and twice that backward. `L` layers of
    /// attention with `H = heads · head_dim` multiply queries with keys, and weights with values. By
    /// convention, each query counts as attending to all `T` keys (Chowdhery et al., 2022, appendix B), so
    /// that MFU is comparable with published figures.
    #[must_use]
    pub fn flops_per_token(&self, time: usize) -> u64 {
        let products: u64 = self
            .parameters()
            .iter()
            .skip(1)
            .filter(|spec| spec.is_matrix())
            .map(|spec| spec.len() as u64)
            .sum();
        let tied_head = if self.tie_word_embeddings { self.vocab_size * self.hidden_size } else { 0 } as u64;
        let attention = self.num_hidden_layers * self.num_attention_heads * self.head_size() * time;
        6 * (products + tied_head) + 12 * attention as u64
    }

    /// Upper bound on the activations of a training step, in bytes, for a micro-batch of `batch` sequences of
    /// `time` tokens.
    ///
    /// Counts what the CPU kernels save for the backward pass, per token and layer: the residual stream
    /// before each norm and after normalization, queries, keys, values, the attention output, one logsumexp
    /// per head, gate and up. Adds the final norm's state and the working memory of one layer's backward
    /// pass. [`logits_bytes`](Self::logits_bytes) counts logits. The sum of all parts was within 10 % of
    /// measured steps for models of 1M to 58M parameters.
    #[must_use]
    pub fn activation_bytes(&self, batch: usize, time: usize) -> u64 {
        let heads = self.num_attention_heads;
        let norms = 4 * self.hidden_size;
        let attention = 2 * (heads + self.kv_heads()) * self.head_size() + heads;
        let feed_forward = 2 * self.intermediate_size;
        let saved = self.num_hidden_layers * (norms + attention + feed_forward) + 2 * self.hidden_size;
        let working = self.intermediate_size + 2 * self.hidden_size;
        4 * (batch * time * (saved + working)) as u64
    }

    /// Size of the key-value cache per token and row, in bytes.
    #[must_use]
    pub fn cache_bytes_per_token(&self) -> u64 {
        4 * (2 * self.num_hidden_layers * self.kv_heads() * self.head_size()) as u64
    }

    /// Size of the logits held at a time, in bytes, for a micro-batch of `batch` sequences of `time` tokens.
    #[must_use]
    pub fn logits_bytes(&self, batch: usize, time: usize) -> u64 {
        4 * (logits_chunk(self.vocab_size).min(batch * time) * self.vocab_size) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_models_have_their_published_sizes() {
        let counts = [
            ("llama-7b", 6_738_415_616),
            ("amber-7b", 6_738_415_616),
            ("llama-13b", 13_015_864_320),
            ("llama-33b", 32_528_943_616),
            ("llama-65b", 65_285_660_672),
            ("openllama-3b", 3_426_473_600),
        ];
        for (name, count) in counts {
            assert_eq!(LlamaConfig::preset(name).unwrap().parameter_count(), count, "{name}");
        }
    }

    #[test]
    fn operations_of_a_7b_are_close_to_six_per_parameter() {
        let config = LlamaConfig::preset("llama-7b").unwrap();
        let matrices = 6_738_415_616 - 32_000 * 4096 - 65 * 4096;
        assert_eq!(config.flops_per_token(2048), 6 * matrices + 12 * 32 * 4096 * 2048);
    }

    #[test]
    fn activations_grow_with_tokens_and_logits_stop_growing() {
        let config = LlamaConfig::default();
        let per_layer = 4 * 128 + 4 * 128 + 4 + 2 * 344;
        assert_eq!(config.activation_bytes(16, 128), 4 * 2048 * (4 * per_layer + 4 * 128 + 344));
        assert_eq!(config.logits_bytes(1, 100), 4 * 100 * 1024);
        assert_eq!(config.logits_bytes(16, 1024), 4 << 20);
    }

    #[test]
    fn a_tied_head_is_multiplied_with_too() {
        let untied = LlamaConfig::default();
        let tied = LlamaConfig { tie_word_embeddings: true, ..LlamaConfig::default() };
        assert_eq!(tied.flops_per_token(64), untied.flops_per_token(64));
        assert_eq!(untied.parameter_count() - tied.parameter_count(), 1024 * 128);
    }
}
