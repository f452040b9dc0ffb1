//! Names and shapes of a model's parameters, in a fixed order: embedding, layers, final norm, head.

use super::config::LlamaConfig;

/// Name and shape of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Name in Hugging Face's files, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Shape: `[out, in]` for matrices, `[vocab, hidden]` for the embedding, `[hidden]` for norms.
    pub shape: Vec<usize>,
}

impl ParameterSpec {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether the parameter has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether this is a matrix or embedding, rather than the weight of a norm.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        self.shape.len() > 1
    }
}

impl LlamaConfig {
    /// Returns the specs of all parameters, in order. A tied head isn't a parameter.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let hidden = self.hidden_size;
        let ffn = self.intermediate_size;
        let q = self.num_attention_heads * self.head_size();
        let kv = self.kv_heads() * self.head_size();
        let per_layer = [
            ("self_attn.q_proj", vec![q, hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, q]),
            ("mlp.gate_proj", vec![ffn, hidden]),
            ("mlp.up_proj", vec![ffn, hidden]),
            ("mlp.down_proj", vec![hidden, ffn]),
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
        ];
        let spec =
            |name: String, shape: &[usize]| ParameterSpec { name: name + ".weight", shape: shape.to_vec() };
        let mut specs = vec![spec("model.embed_tokens".to_owned(), &[self.vocab_size, hidden])];
        for layer in 0..self.num_hidden_layers {
            specs.extend(
                per_layer.iter().map(|(name, shape)| spec(format!("model.layers.{layer}.{name}"), shape)),
            );
        }
        specs.push(spec("model.norm".to_owned(), &[hidden]));
        if !self.tie_word_embeddings {
            specs.push(spec("lm_head".to_owned(), &[self.vocab_size, hidden]));
        }
        specs
    }
}
