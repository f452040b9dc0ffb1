//! Hugging Face's `config.json`.

use std::path::Path;

use fineline_diagnostics::ConfigSection;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::config::{LlamaConfig, ModelConfigError};

/// Name of the file in a model directory that describes the architecture.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// Ids of special tokens in a Hugging Face `config.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
}

/// Reads the architecture from `config.json` in a model directory.
///
/// Fields that old files omit get Hugging Face's defaults. A file that doesn't describe a plain LLaMA
/// (another `model_type`, scaled RoPE, biases) is rejected by the name of the field. Special tokens aren't
/// read: they are often wrong in published configurations, and the tokenizer has them.
///
/// # Errors
/// As [`read_config_file`].
pub fn read_config(dir: &Path) -> Result<LlamaConfig, ModelConfigError> {
    read_config_file(&dir.join(CONFIG_FILE))
}

/// Reads the architecture from a file, as [`read_config`] does from a directory.
///
/// # Errors
/// Returns [`ModelConfigError::Read`] if the file can't be read, [`ModelConfigError::Json`] if it isn't valid
/// JSON or lacks a field, [`ModelConfigError::Unsupported`] if it describes another kind of model, and
/// [`ModelConfigError::InvalidFile`] if its values don't describe a valid model.
pub fn read_config_file(path: &Path) -> Result<LlamaConfig, ModelConfigError> {
    let stored: HfConfig = read_json(path)?;
    stored.check_supported(path)?;
    let config = stored.into_config();
    config.validate("").map_err(|source| ModelConfigError::InvalidFile { path: path.to_owned(), source })?;
    Ok(config)
}

/// Returns the contents of a `config.json`, completed so that other readers agree with ours: with the
/// defaults of fields that old files omit, and the precision of the weights next to it.
pub(crate) fn completed_config(
    path: &Path,
    config: &LlamaConfig,
    dtype: &str,
) -> Result<Value, ModelConfigError> {
    let mut said: Map<String, Value> = read_json(path)?;
    let Value::Object(ours) = config.to_hf(SpecialTokens::default()) else { return Ok(Value::Object(said)) };
    // Fields that don't affect the model stay as they are. Those that do were read from this file.
    let is_ours = |(_, value): &(String, Value)| !value.is_null();
    for (key, value) in ours.into_iter().filter(is_ours) {
        if key == "architectures" || !said.contains_key(&key) || said[&key].is_null() {
            said.insert(key, value);
        }
    }
    said.insert("torch_dtype".to_owned(), Value::from(dtype));
    if said.contains_key("dtype") {
        said.insert("dtype".to_owned(), Value::from(dtype));
    }
    Ok(Value::Object(said))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelConfigError> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|source| ModelConfigError::Json { path: path.to_owned(), source })
}

impl LlamaConfig {
    /// Returns the `config.json` with which `transformers` loads the model.
    #[must_use]
    pub fn to_hf(&self, special: SpecialTokens) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.kv_heads(),
            "head_dim": self.head_size(),
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": null,
            "attention_bias": false,
            "mlp_bias": false,
            "attention_dropout": 0.0,
            "initializer_range": self.initializer_range,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": special.bos,
            "eos_token_id": special.eos,
            "pad_token_id": special.pad,
            "pretraining_tp": 1,
            "use_cache": true,
            "torch_dtype": "float32",
        })
    }
}

/// The fields of a `config.json` that are read. Other fields don't change the model.
#[derive(Deserialize)]
struct HfConfig {
    model_type: String,
    #[serde(default = "silu")]
    hidden_act: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    /// Absent in very old files, which have `max_sequence_length`.
    max_position_embeddings: Option<usize>,
    max_sequence_length: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    /// Replaces `rope_theta` and `rope_scaling` in files of `transformers` 5.
    rope_parameters: Option<Map<String, Value>>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    initializer_range: Option<f64>,
    #[serde(default)]
    tie_word_embeddings: bool,
}

fn silu() -> String {
    "silu".to_owned()
}

impl HfConfig {
    fn check_supported(&self, path: &Path) -> Result<(), ModelConfigError> {
        let refuse = |key, value: String, supported| {
            Err(ModelConfigError::Unsupported { path: path.to_owned(), key, value, supported })
        };
        if self.model_type != "llama" {
            return refuse("model_type", format!("\"{}\"", self.model_type), "\"llama\"");
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", format!("\"{}\"", self.hidden_act), "\"silu\"");
        }
        for (key, bias) in [("attention_bias", self.attention_bias), ("mlp_bias", self.mlp_bias)] {
            if bias {
                return refuse(key, "true".to_owned(), "false");
            }
        }
        for (key, rope) in [("rope_scaling", &self.rope_scaling), ("rope_parameters", &self.rope_parameters)]
        {
            let Some(rope) = rope else { continue };
            let kind = rope.get("rope_type").or_else(|| rope.get("type"));
            if kind.is_none_or(|kind| kind != "default") {
                return refuse(
                    key,
                    Value::Object(rope.clone()).to_string(),
                    "plain RoPE (null, or rope_type \"default\")",
                );
            }
        }
        Ok(())
    }

    fn into_config(self) -> LlamaConfig {
        let nested_theta = self.rope_parameters.as_ref().and_then(|rope| rope.get("rope_theta")?.as_f64());
        LlamaConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            max_position_embeddings: self
                .max_position_embeddings
                .or(self.max_sequence_length)
                .unwrap_or(2048),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: self.rope_theta.or(nested_theta).unwrap_or(10_000.0),
            tie_word_embeddings: self.tie_word_embeddings,
            initializer_range: self.initializer_range.unwrap_or(0.02),
            pad_token_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<LlamaConfig, ModelConfigError> {
        let mut stored = LlamaConfig::default().to_hf(SpecialTokens::default());
        change(stored.as_object_mut().unwrap());
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("config.json"), stored.to_string()).unwrap();
        read_config(dir.path())
    }

    #[test]
    fn what_is_written_is_read() {
        let expected =
            LlamaConfig { num_key_value_heads: Some(4), head_dim: Some(32), ..LlamaConfig::default() };
        assert_eq!(read(|_| ()).unwrap(), expected);
    }

    #[test]
    fn old_files_leave_fields_out() {
        let config = read(|stored| {
            let absent = [
                "num_key_value_heads",
                "rope_theta",
                "head_dim",
                "rope_scaling",
                "max_position_embeddings",
                "hidden_act",
            ];
            for key in absent {
                stored.remove(key);
            }
            stored.insert("max_sequence_length".to_owned(), json!(512));
        })
        .unwrap();
        assert_eq!(config, LlamaConfig { max_position_embeddings: 512, ..LlamaConfig::default() });
    }

    #[test]
    fn nested_rope_parameters_are_read() {
        let config = read(|stored| {
            stored.remove("rope_theta");
            stored.insert("rope_parameters".to_owned(), json!({"rope_type": "default", "rope_theta": 5e5}));
        });
        assert!((config.unwrap().rope_theta - 5e5).abs() < f64::EPSILON);
    }

    #[test]
    fn other_architectures_are_refused_by_name() {
        let changes = [
            ("model_type", json!("gpt2")),
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("mlp_bias", json!(true)),
            ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
            ("rope_parameters", json!({"rope_type": "llama3", "rope_theta": 5e5})),
        ];
        for (name, value) in changes {
            match read(|stored| drop(stored.insert(name.to_owned(), value))) {
                Err(ModelConfigError::Unsupported { key, .. }) => assert_eq!(key, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn errors_carry_path_and_place() {
        let error = read(|stored| drop(stored.remove("hidden_size"))).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("hidden_size"), "{error}");
        let error =
            read(|stored| drop(stored.insert("num_attention_heads".to_owned(), json!(7)))).unwrap_err();
        assert!(error.to_string().contains("config.json: num_key_value_heads"), "{error}");
        let error = read_config(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/config.json"), "{error}");
    }
}
