//! Published architectures by name.

use super::config::{LlamaConfig, ModelConfigError};

impl LlamaConfig {
    /// Names of all presets.
    pub const PRESETS: [&str; 16] = [
        "tiny-260k",
        "tiny-1m",
        "tiny-7m",
        "tiny-58m",
        "llama-7b",
        "llama-13b",
        "llama-33b",
        "llama-65b",
        "openllama-3b",
        "openllama-7b",
        "openllama-13b",
        "openllama-3b-v2",
        "openllama-7b-v2",
        "amber-7b",
        "fineline-openllama-7b",
        "fineline-amber",
    ];

    /// Returns a published architecture, or one small enough for a laptop, by name.
    ///
    /// LLaMA is from arXiv 2302.13971, table 2. OpenLLaMA is from EasyLM's `llama_model.py`. Amber is from
    /// the model card of `LLM360/Amber`, with the padding row of its `modeling_llama.py`. The Amber
    /// reproduction in *The Fine Line* (arXiv 2404.01204) is assumed to have four key-value heads, since its
    /// files have the size of such a model.
    ///
    /// # Errors
    /// Returns [`ModelConfigError::UnknownPreset`], which lists all names, for any other name.
    pub fn preset(name: &str) -> Result<Self, ModelConfigError> {
        let config = match name {
            "tiny-260k" => Self {
                num_key_value_heads: Some(4),
                tie_word_embeddings: true,
                ..sized(512, [64, 172, 5, 8])
            },
            "tiny-1m" => sized(1024, [128, 344, 4, 4]),
            "tiny-7m" => sized(4096, [256, 688, 6, 8]),
            "tiny-58m" => sized(32_000, [512, 1376, 8, 8]),
            "llama-7b" | "openllama-7b" | "openllama-7b-v2" | "fineline-openllama-7b" => {
                sized(32_000, [4096, 11_008, 32, 32])
            }
            "amber-7b" => Self { pad_token_id: Some(0), ..sized(32_000, [4096, 11_008, 32, 32]) },
            "fineline-amber" => {
                Self { num_key_value_heads: Some(4), ..sized(32_000, [4096, 11_008, 32, 32]) }
            }
            "llama-13b" | "openllama-13b" => sized(32_000, [5120, 13_824, 40, 40]),
            "llama-33b" => sized(32_000, [6656, 17_920, 60, 52]),
            "llama-65b" => Self { rms_norm_eps: 1e-5, ..sized(32_000, [8192, 22_016, 80, 64]) },
            "openllama-3b" | "openllama-3b-v2" => sized(32_000, [3200, 8640, 26, 32]),
            _ => return Err(ModelConfigError::UnknownPreset { name: name.to_owned() }),
        };
        Ok(config)
    }
}

/// An architecture of the given hidden size, intermediate size, layers and heads, with the values that the
/// whole family shares.
fn sized(vocab_size: usize, [hidden, intermediate, layers, heads]: [usize; 4]) -> LlamaConfig {
    LlamaConfig {
        vocab_size,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        max_position_embeddings: 2048,
        ..LlamaConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use fineline_diagnostics::ConfigSection;

    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for name in LlamaConfig::PRESETS {
            LlamaConfig::preset(name).unwrap().validate("model").unwrap();
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = LlamaConfig::preset("llama-70b").unwrap_err().to_string();
        assert!(message.contains("llama-70b") && message.contains("llama-65b"), "{message}");
    }

    #[test]
    fn sizes_are_those_of_the_released_weights() {
        for (name, parameters) in [
            ("amber-7b", 6_738_415_616),
            ("openllama-3b", 3_426_473_600),
            ("openllama-7b-v2", 6_738_415_616),
            ("openllama-13b", 13_015_864_320),
            ("llama-33b", 32_528_943_616),
            ("llama-65b", 65_285_660_672),
            ("fineline-amber", 5_798_891_520),
        ] {
            assert_eq!(LlamaConfig::preset(name).unwrap().parameter_count(), parameters, "{name}");
        }
    }

    #[test]
    fn openllama_3b_has_heads_of_100() {
        assert_eq!(LlamaConfig::preset("openllama-3b").unwrap().head_size(), 100);
    }
}
