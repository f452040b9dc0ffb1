use crate::config::{ConfigError, LlamaConfig};

impl LlamaConfig {
    /// The names [`preset`](Self::preset) knows.
    pub const PRESETS: [&str; 11] = [
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
        "amber-7b",
    ];

    /// A published architecture, or one small enough for a laptop, by name.
    ///
    /// LLaMA is arXiv 2302.13971, table 2; OpenLLaMA is EasyLM's `llama_model.py`; Amber is the model card of `LLM360/Amber`.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let config = match name {
            "tiny-260k" => Self {
                num_key_value_heads: Some(4),
                tie_word_embeddings: true,
                ..sized(512, [64, 172, 5, 8])
            },
            "tiny-1m" => sized(1024, [128, 344, 4, 4]),
            "tiny-7m" => sized(4096, [256, 688, 6, 8]),
            "tiny-58m" => sized(32_000, [512, 1376, 8, 8]),
            "llama-7b" | "openllama-7b" | "amber-7b" => sized(32_000, [4096, 11_008, 32, 32]),
            "llama-13b" => sized(32_000, [5120, 13_824, 40, 40]),
            "llama-33b" => sized(32_000, [6656, 17_920, 60, 52]),
            "llama-65b" => Self { rms_norm_eps: 1e-5, ..sized(32_000, [8192, 22_016, 80, 64]) },
            "openllama-3b" => sized(32_000, [3200, 8640, 26, 32]),
            _ => return Err(ConfigError::UnknownPreset { name: name.to_owned() }),
        };
        Ok(config)
    }
}

/// Hidden and intermediate size, layers and heads, with what all of the family share.
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
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for name in LlamaConfig::PRESETS {
            LlamaConfig::preset(name).unwrap().validate().unwrap();
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = LlamaConfig::preset("llama-70b").unwrap_err().to_string();
        assert!(message.contains("llama-70b") && message.contains("llama-65b"), "{message}");
    }

    #[test]
    fn openllama_3b_has_heads_of_100() {
        assert_eq!(LlamaConfig::preset("openllama-3b").unwrap().head_size(), 100);
    }
}
