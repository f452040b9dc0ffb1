//! The architecture.

use std::path::PathBuf;

use fineline_diagnostics::{Checker, Classified, ConfigSection, ErrorClass, Problem, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The architecture of a LLaMA model, with the field names of a Hugging Face `config.json`.
///
/// The defaults are a model of 1.05M parameters that trains on a laptop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlamaConfig {
    /// Number of token ids of the embedding and the head. At least the vocabulary size of the tokenizer.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of transformer layers.
    pub num_hidden_layers: usize,
    /// Number of query heads per layer. Divides `hidden_size` unless `head_dim` is set.
    pub num_attention_heads: usize,
    /// Number of key-value heads per layer. Divides `num_attention_heads`. Absent: the number of query heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head. Even. Absent: `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Maximum sequence length, in tokens.
    pub max_position_embeddings: usize,
    /// Term added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the frequencies of the rotary position embedding.
    pub rope_theta: f64,
    /// Whether the output head shares the weights of the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the normal distribution that matrices are initialized from.
    pub initializer_range: f64,
    /// Id of the padding token. Its embedding is initialized to zero and never trained, as with `padding_idx`
    /// of `torch.nn.Embedding`. Requires `tie_word_embeddings = false`. Absent: all embeddings are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token_id: Option<usize>,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 1024,
            hidden_size: 128,
            intermediate_size: 344,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: None,
            head_dim: None,
            max_position_embeddings: 1024,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            pad_token_id: None,
        }
    }
}

impl LlamaConfig {
    /// Number of key-value heads.
    #[must_use]
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Size of a head.
    #[must_use]
    pub fn head_size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

impl ConfigSection for LlamaConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        // 2^31: token ids, positions and dimensions must fit the int32 of every file format and device.
        let is_size = |size: usize| (1..1 << 31).contains(&size);
        for (field, size) in sizes {
            // An absent number of key-value heads is that of the query heads.
            if field != "num_key_value_heads" || self.num_key_value_heads.is_some() {
                checker.require(is_size(size), field, size, "must be from 1 to 2147483647");
            }
        }
        if sizes.iter().all(|(_, size)| is_size(*size)) {
            self.check_heads(checker);
        }
        self.check_padding(checker);
        let reals = [
            ("rms_norm_eps", self.rms_norm_eps, f64::MIN_POSITIVE, 1.0),
            ("rope_theta", self.rope_theta, 1.0, 1e12),
            ("initializer_range", self.initializer_range, 0.0, 10.0),
        ];
        for (field, value, min, max) in reals {
            checker.require(
                (min..=max).contains(&value),
                field,
                value,
                format!("must be from {min:e} to {max:e}"),
            );
        }
    }
}

impl LlamaConfig {
    fn check_heads(&self, checker: &mut Checker<'_>) {
        let (heads, hidden_size) = (self.num_attention_heads, self.hidden_size);
        if self.head_dim.is_none() && !hidden_size.is_multiple_of(heads) {
            let message = format!("must divide hidden_size = {hidden_size}");
            let problem = Problem::new(checker.key("num_attention_heads"), message);
            checker.push(problem.with_value(heads).with_remedy("change one of them, or set head_dim"));
            return;
        }
        let kv_heads = self.kv_heads();
        checker.require(
            heads.is_multiple_of(kv_heads),
            "num_key_value_heads",
            kv_heads,
            format!("must divide num_attention_heads = {heads}"),
        );
        let head_size = self.head_size();
        if head_size == 0 || !head_size.is_multiple_of(2) {
            let message = "must be even and above 0, for rotary position embedding";
            let message = match self.head_dim {
                Some(_) => message.to_owned(),
                None => format!("{message}; it is hidden_size / num_attention_heads unless set"),
            };
            checker.report("head_dim", head_size, message);
        }
    }

    fn check_padding(&self, checker: &mut Checker<'_>) {
        let Some(id) = self.pad_token_id else { return };
        let message = format!("must be below vocab_size = {}", self.vocab_size);
        checker.require(id < self.vocab_size, "pad_token_id", id, message);
        checker.require(
            !self.tie_word_embeddings,
            "pad_token_id",
            id,
            "must be absent if tie_word_embeddings = true: the head has no row that isn't trained",
        );
    }
}

/// Errors of a model's configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelConfigError {
    /// Values that don't make a model.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// There is no preset of this name.
    #[error("no preset is named `{name}`, expected one of {}", LlamaConfig::PRESETS.join(", "))]
    UnknownPreset {
        /// The requested name.
        name: String,
    },
    /// The file can't be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// The file isn't the JSON of a LLaMA's configuration.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// The file describes a model that isn't a LLaMA.
    #[error("{path}: {key}: {value} isn't supported, expected {supported}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value in the file.
        value: String,
        /// The supported value.
        supported: &'static str,
    },
    /// The values in the file don't describe a valid model.
    #[error("{path}: {source}")]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// The invalid value.
        source: Problems,
    },
}

impl Classified for ModelConfigError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownPreset { .. } => ErrorClass::Usage,
            Self::Invalid(_) => ErrorClass::Configuration,
            Self::Read(_) | Self::Json { .. } | Self::Unsupported { .. } | Self::InvalidFile { .. } => {
                ErrorClass::Environment
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(change: impl FnOnce(&mut LlamaConfig)) -> String {
        let mut config = LlamaConfig::default();
        change(&mut config);
        let problems: Vec<_> = config.validate("").unwrap_err().into_iter().collect();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        problem.key.to_string()
    }

    #[test]
    fn the_default_is_valid() {
        LlamaConfig::default().validate("").unwrap();
    }

    #[test]
    fn errors_name_the_key() {
        assert_eq!(key_at_fault(|c| c.vocab_size = 0), "vocab_size");
        assert_eq!(key_at_fault(|c| c.num_hidden_layers = 0), "num_hidden_layers");
        assert_eq!(key_at_fault(|c| c.num_attention_heads = 0), "num_attention_heads");
        assert_eq!(key_at_fault(|c| c.num_attention_heads = 3), "num_attention_heads");
        assert_eq!(key_at_fault(|c| c.num_key_value_heads = Some(3)), "num_key_value_heads");
        assert_eq!(key_at_fault(|c| c.num_key_value_heads = Some(0)), "num_key_value_heads");
        assert_eq!(key_at_fault(|c| c.head_dim = Some(25)), "head_dim");
        assert_eq!(key_at_fault(|c| c.head_dim = Some(0)), "head_dim");
        assert_eq!(key_at_fault(|c| c.rms_norm_eps = 0.0), "rms_norm_eps");
        assert_eq!(key_at_fault(|c| c.rope_theta = f64::NAN), "rope_theta");
        assert_eq!(key_at_fault(|c| c.initializer_range = -0.1), "initializer_range");
        assert_eq!(key_at_fault(|c| c.hidden_size = usize::MAX), "hidden_size");
        assert_eq!(key_at_fault(|c| c.pad_token_id = Some(c.vocab_size)), "pad_token_id");
        assert_eq!(
            key_at_fault(|c| (c.pad_token_id, c.tie_word_embeddings) = (Some(0), true)),
            "pad_token_id"
        );
    }

    #[test]
    fn an_explicit_head_dim_frees_the_hidden_size() {
        let config = LlamaConfig { num_attention_heads: 3, head_dim: Some(50), ..LlamaConfig::default() };
        config.validate("").unwrap();
        assert_eq!((config.head_size(), config.kv_heads()), (50, 3));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<LlamaConfig>(r#"{"hiden_size": 64}"#).unwrap_err();
        assert!(error.to_string().contains("hiden_size"), "{error}");
    }
}
