//! The forward pass.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use fineline_kernels::{
    AttentionMask, FeedForwardWeights, Numerics, Precision, RotaryTable, SelfAttentionWeights, add,
    attention, attention_with_prefix, embedding, feed_forward, linear, rms_norm, rope, self_attention,
};

use crate::llama::cache::KvCache;
use crate::llama::config::LlamaConfig;

/// A LLaMA. Its fields are named so that parameter paths are Hugging Face's tensor names.
#[derive(Module, Debug)]
pub struct Llama {
    model: Decoder,
    /// `None` if tied to the embedding.
    lm_head: Option<Projection>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    precision: Precision,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct DecoderLayer {
    self_attn: SelfAttention,
    mlp: FeedForward,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
}

#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "the names of the parameters")]
struct SelfAttention {
    q_proj: Projection,
    k_proj: Projection,
    v_proj: Projection,
    o_proj: Projection,
}

#[derive(Module, Debug)]
#[allow(clippy::struct_field_names, reason = "the names of the parameters")]
struct FeedForward {
    gate_proj: Projection,
    up_proj: Projection,
    down_proj: Projection,
}

#[derive(Module, Debug)]
struct Embedding {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Projection {
    /// `[out, in]`.
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct RmsNorm {
    weight: Param<Tensor<1>>,
}

/// Positions of tokens for rotary embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Consecutive positions, from 0 or from the end of the cache.
    Sequential,
    /// One position per token, row-major `[batch, tokens]`.
    Explicit(Vec<u32>),
}

/// Inputs that all layers of a forward pass share.
struct ForwardPass<'a> {
    config: &'a LlamaConfig,
    precision: Precision,
    rotary: RotaryTable,
    mask: &'a AttentionMask,
    cache: CacheUse<'a>,
}

/// Use of a cache in a forward pass.
enum CacheUse<'a> {
    None,
    /// The tokens follow those in the cache, row by row, and are appended to it.
    Extend(&'a mut KvCache),
    /// The tokens of each row follow those in a cache of one row.
    SharedPrefix(&'a KvCache),
}

impl CacheUse<'_> {
    /// Number of cached tokens.
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Extend(cache) => cache.len(),
            Self::SharedPrefix(cache) => cache.len(),
        }
    }
}

impl Llama {
    /// Creates a model from parameter values in the order of [`LlamaConfig::parameters`].
    ///
    /// # Panics
    /// If the number of values differs from the number of parameters, or if shapes differ.
    #[must_use]
    pub fn from_parameters(config: &LlamaConfig, values: Vec<TensorData>, device: &Device) -> Self {
        let specs = config.parameters();
        assert_eq!(values.len(), specs.len(), "one value per parameter");
        for (spec, value) in specs.iter().zip(&values) {
            assert_eq!(value.shape().as_slice(), spec.shape, "shape of {}", spec.name);
        }
        let mut source = ParameterSource { values: values.into_iter(), device };
        // Fields are evaluated in the order of this expression, which is the order of the list.
        Self {
            model: Decoder {
                embed_tokens: Embedding { weight: source.next() },
                layers: (0..config.num_hidden_layers).map(|_| source.layer()).collect(),
                norm: source.norm(),
            },
            lm_head: (!config.tie_word_embeddings).then(|| source.projection()),
            config: config.clone(),
            precision: Precision::F32,
        }
    }

    /// The architecture.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Sets the precision of the matmuls. A new model computes in float32. Parameters and logits are float32
    /// in any case.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Device of the parameters.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.norm.weight.val().device()
    }

    /// Returns the model without autodiff. Nothing is copied.
    #[must_use]
    pub fn valid(&self) -> Self {
        Module::valid(self)
    }

    /// Computes the final-normed hidden states `[batch, tokens, hidden]` of `[batch, tokens]` tokens.
    ///
    /// # Panics
    /// If a token is outside the vocabulary, or if there isn't one position or span per token.
    #[must_use]
    pub fn hidden(
        &self,
        tokens_bt: Tensor<2, Int>,
        positions: &Positions,
        mask: &AttentionMask,
    ) -> Tensor<3> {
        self.run(tokens_bt, positions, mask, CacheUse::None, &mut |_| {})
    }

    /// Calls `visit` with the hidden states `[batch, tokens, hidden]` at each depth: after the embedding,
    /// after each layer, and the final-normed states that [`hidden`](Self::hidden) returns. That is two more
    /// than there are layers.
    ///
    /// (Hugging Face's `output_hidden_states` has one less: it normalizes the states of the last layer.)
    ///
    /// # Panics
    /// As [`hidden`](Self::hidden).
    pub fn visit_hidden(
        &self,
        tokens_bt: Tensor<2, Int>,
        positions: &Positions,
        mask: &AttentionMask,
        visit: &mut dyn FnMut(&Tensor<3>),
    ) {
        let last = self.run(tokens_bt, positions, mask, CacheUse::None, visit);
        visit(&last);
    }

    /// Computes [`hidden`](Self::hidden) for tokens that follow those in `cache`, and appends them to it.
    ///
    /// There is one span per new token, and spans index keys from the cache's first token. To batch rows of
    /// different lengths, pad them on the left, with explicit positions and spans whose `own_start` excludes
    /// the padding.
    #[must_use]
    pub fn extend(
        &self,
        tokens_bt: Tensor<2, Int>,
        positions: &Positions,
        mask: &AttentionMask,
        cache: &mut KvCache,
    ) -> Tensor<3> {
        self.run(tokens_bt, positions, mask, CacheUse::Extend(cache), &mut |_| {})
    }

    /// Computes [`hidden`](Self::hidden) for rows that all follow the text in `prefix`, a cache of one row,
    /// which stays unchanged. Positions count from the first token of the prefix, and spans from the first
    /// token of the row.
    ///
    /// # Panics
    /// As [`hidden`](Self::hidden), or if the cache is empty or has more than one row.
    #[must_use]
    pub fn hidden_with_prefix(
        &self,
        prefix: &KvCache,
        tokens_bt: Tensor<2, Int>,
        positions: &Positions,
        mask: &AttentionMask,
    ) -> Tensor<3> {
        self.run(tokens_bt, positions, mask, CacheUse::SharedPrefix(prefix), &mut |_| {})
    }

    /// The output matrix `[vocab, hidden]`, which is the embedding if tied.
    #[must_use]
    pub fn lm_head(&self) -> Tensor<2> {
        self.lm_head.as_ref().map_or(&self.model.embed_tokens.weight, |head| &head.weight).val()
    }

    /// Computes the logits `[batch, tokens, vocab]` of hidden states.
    #[must_use]
    pub fn logits(&self, hidden_btd: Tensor<3>) -> Tensor<3> {
        linear(hidden_btd, self.lm_head(), Precision::F32)
    }

    /// Runs the layers and the final norm. Calls `visit` with the hidden states before the final norm,
    /// starting with the embedding.
    fn run(
        &self,
        tokens_bt: Tensor<2, Int>,
        positions: &Positions,
        mask: &AttentionMask,
        cache: CacheUse<'_>,
        visit: &mut dyn FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let [batch, time] = tokens_bt.dims();
        let start = cache.len() as u32;
        let positions = match positions {
            Positions::Sequential => &(start..start + time as u32).collect(),
            Positions::Explicit(positions) => {
                assert_eq!(positions.len(), batch * time, "one position per token");
                positions
            }
        };
        let config = &self.config;
        let rotary = RotaryTable::new(positions, time, config.head_size(), config.rope_theta, &self.device());
        let mut pass = ForwardPass { config, precision: self.precision, rotary, mask, cache };
        let mut x_btd = embedding(self.model.embed_tokens.weight.val(), tokens_bt);
        visit(&x_btd);
        for (index, layer) in self.model.layers.iter().enumerate() {
            x_btd = layer.forward(x_btd, index, &mut pass);
            visit(&x_btd);
        }
        self.model.norm.forward(x_btd, config)
    }
}

impl DecoderLayer {
    fn forward(&self, x_btd: Tensor<3>, index: usize, pass: &mut ForwardPass<'_>) -> Tensor<3> {
        let numerics = Numerics { eps: pass.config.rms_norm_eps, precision: pass.precision };
        let x_btd = if matches!(pass.cache, CacheUse::None) {
            self_attention(x_btd, self.self_attention_weights(), &pass.rotary, pass.mask, numerics)
        } else {
            let normed = self.input_layernorm.forward(x_btd.clone(), pass.config);
            add(x_btd, self.self_attn.forward(normed, index, pass))
        };
        feed_forward(x_btd, self.feed_forward_weights(), numerics)
    }
}

impl DecoderLayer {
    fn self_attention_weights(&self) -> SelfAttentionWeights {
        let SelfAttention { q_proj, k_proj, v_proj, o_proj } = &self.self_attn;
        SelfAttentionWeights {
            norm: self.input_layernorm.weight.val(),
            q: q_proj.weight.val(),
            k: k_proj.weight.val(),
            v: v_proj.weight.val(),
            out: o_proj.weight.val(),
        }
    }

    fn feed_forward_weights(&self) -> FeedForwardWeights {
        let FeedForward { gate_proj, up_proj, down_proj } = &self.mlp;
        FeedForwardWeights {
            norm: self.post_attention_layernorm.weight.val(),
            gate: gate_proj.weight.val(),
            up: up_proj.weight.val(),
            down: down_proj.weight.val(),
        }
    }
}

impl SelfAttention {
    /// Attention of the new tokens to the cached and new keys and values.
    fn forward(&self, x_btd: Tensor<3>, layer: usize, pass: &mut ForwardPass<'_>) -> Tensor<3> {
        let [b, t, _] = x_btd.dims();
        let (h, k, e) = (pass.config.num_attention_heads, pass.config.kv_heads(), pass.config.head_size());
        let precision = pass.precision;
        let queries = self.q_proj.forward(x_btd.clone(), precision).reshape([b, t, h, e]);
        let keys = self.k_proj.forward(x_btd.clone(), precision).reshape([b, t, k, e]);
        let values = self.v_proj.forward(x_btd, precision).reshape([b, t, k, e]);
        let queries = rope(queries, &pass.rotary);
        let keys = rope(keys, &pass.rotary);
        let attention = match &mut pass.cache {
            CacheUse::None => attention(queries, keys, values, pass.mask, precision),
            CacheUse::Extend(cache) => {
                let (keys, values) = cache.append(layer, keys, values);
                attention(queries, keys, values, pass.mask, precision)
            }
            CacheUse::SharedPrefix(cache) => {
                attention_with_prefix(cache.layer(layer), queries, keys, values, pass.mask, precision)
            }
        };
        self.o_proj.forward(attention.reshape([b, t, h * e]), precision)
    }
}

impl Projection {
    fn forward(&self, x_bti: Tensor<3>, precision: Precision) -> Tensor<3> {
        linear(x_bti, self.weight.val(), precision)
    }
}

impl RmsNorm {
    fn forward(&self, x_btd: Tensor<3>, config: &LlamaConfig) -> Tensor<3> {
        rms_norm(x_btd, self.weight.val(), config.rms_norm_eps)
    }
}

/// Supplies values as parameters, in order.
struct ParameterSource<'a> {
    values: std::vec::IntoIter<TensorData>,
    device: &'a Device,
}

impl ParameterSource<'_> {
    fn next<const D: usize>(&mut self) -> Param<Tensor<D>> {
        let value = self.values.next().expect("the number of values was compared with the config's");
        Param::from_data(value, self.device)
    }

    fn projection(&mut self) -> Projection {
        Projection { weight: self.next() }
    }

    fn norm(&mut self) -> RmsNorm {
        RmsNorm { weight: self.next() }
    }

    fn layer(&mut self) -> DecoderLayer {
        DecoderLayer {
            self_attn: SelfAttention {
                q_proj: self.projection(),
                k_proj: self.projection(),
                v_proj: self.projection(),
                o_proj: self.projection(),
            },
            mlp: FeedForward {
                gate_proj: self.projection(),
                up_proj: self.projection(),
                down_proj: self.projection(),
            },
            input_layernorm: self.norm(),
            post_attention_layernorm: self.norm(),
        }
    }
}

#[cfg(test)]
mod tests;
