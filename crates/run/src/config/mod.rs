//! What a run is to do: [`RunConfig`], read from TOML and resolved.
//!
//! A configuration is a tree of values laid over one another: the defaults, a model preset, the files named by `extends`, the file
//! itself, `--set` arguments. Each value keeps its [`Origin`], so that `config show` can tell it and errors can point at the line.
//! Each crate owns the struct of its section; the doc comments on the fields are the reference.

mod error;
mod init;
mod layers;
mod reference;
mod schema;
mod sections;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_data::{DataConfig, TokenizerConfig};
use fineline_diagnostics::{Key, choice_hint};
use fineline_model::LlamaConfig;
use fineline_probe::ProbeConfig;
use fineline_tinyworld::WorldConfig;
use fineline_train::{
    CheckpointConfig, DistributedConfig, GuardConfig, OptimConfig, ScheduleConfig, TrainConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use error::ConfigError;
pub use init::{InitConfig, MomentsFrom};
pub use layers::Origin;
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use sections::{ListenAddress, LogConfig, Precision, RunSection, StorageConfig, ValidationConfig};
pub use show::Difference;

use layers::Layers;

use crate::triggers::TriggerConfig;

/// A resolved configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The run as such: its name and place, seed, device.
    pub run: RunSection,
    /// The model: a preset's name (`preset = "llama-7b"`), or the field names of a Hugging Face LLaMA `config.json`.
    pub model: LlamaConfig,
    /// Weights to start from; without it, a run starts from fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<InitConfig>,
    /// The generated world; its text is a source wherever a mix says `path = "tinyworld"`.
    #[serde(default)]
    pub tinyworld: WorldConfig,
    /// The tokenizer, and which special tokens go around a document.
    #[serde(default)]
    pub tokenizer: TokenizerConfig,
    /// The text to train on.
    pub data: DataConfig,
    /// The optimizer.
    #[serde(default)]
    pub optim: OptimConfig,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// How long to train, and on how much at a time.
    pub train: TrainConfig,
    /// When checkpoints are written, and which are kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// A copy of the run elsewhere.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Loss on the validation split, per source.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Probes: suites of tasks, and when they are run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeConfig>,
    /// What happens when a step goes wrong.
    #[serde(default)]
    pub guard: GuardConfig,
    /// How several ranks share a step.
    #[serde(default)]
    pub distributed: DistributedConfig,
    /// What is done when probes say something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerConfig>,
    /// What is logged, and where to.
    #[serde(default)]
    pub log: LogConfig,
}

/// A configuration together with where its values came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    file: PathBuf,
    origins: BTreeMap<Key, Origin>,
}

impl Resolved {
    /// Reads and resolves `path`, then applies `overrides` (`key=value`) in their order.
    ///
    /// # Errors
    /// What is wrong with the configuration, at which key, and where that was written. Nothing outside the configuration files is
    /// looked at.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(path)?;
        for assignment in overrides {
            layers.set(assignment)?;
        }
        Self::from_layers(layers)
    }

    fn from_layers(mut layers: Layers) -> Result<Self, ConfigError> {
        expand_preset(&mut layers)?;
        schema::refuse_unknown_keys(&layers)?;
        let config = deserialize(&layers)?;
        let resolved = Self { config, file: layers.file, origins: layers.origins };
        resolved.validate()?;
        Ok(resolved)
    }

    /// Where the value at `key` came from.
    #[must_use]
    pub fn origin(&self, key: &Key) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The error that `message` is about the value at `key`. Other keys in the message that were given by `--set` are told: nobody
    /// finds them in the file.
    #[must_use]
    pub fn invalid(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let key: Key = key.parse().unwrap_or_default();
        let mut message = message.into();
        let overridden = self.origins.iter().filter(|(_, origin)| **origin == Origin::Override);
        let others = overridden.map(|(other, _)| other.to_string());
        let told: Vec<String> = others.filter(|other| message.contains(other)).collect();
        let place = layers::place(&self.file, &self.origins, &key);
        if !told.is_empty() && place != Origin::Override.to_string() {
            message = format!("{message}; --set gives {}", told.join(" and "));
        }
        ConfigError::Invalid { place, key, message }
    }

    /// Checks ranges and what sections ask of one another.
    fn validate(&self) -> Result<(), ConfigError> {
        sections::problems(&self.config)
            .into_iter()
            .next()
            .map_or(Ok(()), |problem| Err(self.invalid(&problem.key, problem.message)))
    }
}

impl RunConfig {
    /// Whether a change of this key moves no number of the run, or only decides when something is looked at or saved.
    #[must_use]
    pub fn is_harmless(key: &str) -> bool {
        const HARMLESS: [&str; 18] = [
            "run.name",
            "run.dir",
            "checkpoint",
            "storage",
            "log",
            "guard.max_skips",
            "guard.max_rewinds",
            "guard.max_lowerings",
            "guard.stall",
            "triggers",
            "data.cache",
            "validation.every_steps",
            "validation.rows",
            "probes",
            "distributed.mode",
            "distributed.bucket_mib",
            "distributed.ranks_per_process",
            "distributed.timeout_s",
        ];
        let Ok(key) = key.parse::<Key>() else { return false };
        HARMLESS
            .iter()
            .filter_map(|harmless| harmless.parse().ok())
            .any(|harmless| key.starts_with(&harmless))
    }

    /// The BLAKE3 hash of everything that decides the run's losses and weights: all values but the
    /// [harmless](Self::is_harmless) ones.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (key, value) in show::leaves(&self.to_values()) {
            let key = key.to_string();
            if !Self::is_harmless(&key) {
                hasher.update(format!("{key} = {value}\n").as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The keys of all values that are set.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        show::leaves(&self.to_values()).keys().map(ToString::to_string).collect()
    }

    /// The configuration as a tree of values, without those that are unset.
    #[must_use]
    pub fn to_values(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut values)) = serde_json::to_value(self) else {
            unreachable!("every section is a table with string keys")
        };
        drop_nulls(&mut values);
        values
    }
}

fn drop_nulls(values: &mut Map<String, Value>) {
    values.retain(|_, value| !value.is_null());
    for value in values.values_mut() {
        match value {
            Value::Object(table) => drop_nulls(table),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(drop_nulls),
            _ => {}
        }
    }
}

/// Puts the values of `model.preset` beneath those that the model's section states itself.
fn expand_preset(layers: &mut Layers) -> Result<(), ConfigError> {
    let key = Key::default().field("model").field("preset");
    let place = layers.place(&key);
    let Some(Value::Object(model)) = layers.values.get_mut("model") else { return Ok(()) };
    let Some(preset) = model.remove("preset") else { return Ok(()) };
    layers.origins.remove(&key);
    let invalid = |message: String| ConfigError::Invalid { key: key.clone(), place: place.clone(), message };
    let name = preset.as_str().ok_or_else(|| invalid("must be a preset's name".into()))?;
    let config = LlamaConfig::preset(name).map_err(|_| {
        let hint = choice_hint(name, &LlamaConfig::PRESETS);
        invalid(format!("names no known preset: `{name}`{hint}"))
    })?;
    let Ok(Value::Object(values)) = serde_json::to_value(config) else {
        unreachable!("a model's configuration is a table")
    };
    for (field, value) in values {
        if !model.contains_key(&field) {
            layers
                .origins
                .insert(Key::default().field("model").field(&field), Origin::Preset(name.to_owned()));
            model.insert(field, value);
        }
    }
    Ok(())
}

fn deserialize(layers: &Layers) -> Result<RunConfig, ConfigError> {
    let values = Value::Object(layers.values.clone());
    serde_path_to_error::deserialize(values).map_err(|error| {
        let key: Key = error.path().to_string().parse().unwrap_or_default();
        let message = error.into_inner().to_string();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        if let Some(field) = missing {
            let key = key.field(field);
            return ConfigError::Missing { place: layers.place(&key), key };
        }
        ConfigError::Invalid { place: layers.place(&key), key, message: format!("can't be read: {message}") }
    })
}
