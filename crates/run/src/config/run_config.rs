//! The configuration as a whole, and how two of them compare.

use std::collections::BTreeSet;

use fineline_data::{DataConfig, TokenizerConfig};
use fineline_diagnostics::Key;
use fineline_model::LlamaConfig;
use fineline_probe::ProbeConfig;
use fineline_tinyworld::WorldConfig;
use fineline_train::{
    CheckpointConfig, DistributedConfig, GuardConfig, OptimConfig, ScheduleConfig, TrainConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::init::InitConfig;
use super::sections::{LogConfig, RunSection, StorageConfig, ValidationConfig};
use super::triggers::TriggerConfig;
use super::values::{drop_nulls, leaves};

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
    #[schemars(extend("x-resume" = "may-change"))]
    pub checkpoint: CheckpointConfig,
    /// A copy of the run elsewhere.
    #[serde(default)]
    #[schemars(extend("x-resume" = "may-change"))]
    pub storage: StorageConfig,
    /// Loss on the validation split, per source.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Probes: suites of tasks, and when they are run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-resume" = "may-change"))]
    pub probes: Vec<ProbeConfig>,
    /// What happens when a step goes wrong.
    #[serde(default)]
    pub guard: GuardConfig,
    /// How several ranks share a step.
    #[serde(default)]
    pub distributed: DistributedConfig,
    /// What is done when probes say something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-resume" = "may-change"))]
    pub triggers: Vec<TriggerConfig>,
    /// What is logged, and where to.
    #[serde(default)]
    #[schemars(extend("x-resume" = "may-change"))]
    pub log: LogConfig,
}

/// A value that two configurations don't share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigDifference {
    /// The value's key.
    pub key: String,
    /// The left configuration's value; none where it has no such key.
    pub left: Option<Value>,
    /// The right configuration's value.
    pub right: Option<Value>,
}

impl RunConfig {
    /// The keys of all values that are set.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        leaves(&self.to_values()).keys().map(ToString::to_string).collect()
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

    /// The configuration as a TOML file that resolves to itself.
    ///
    /// # Panics
    /// Never: every section is a table.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&Value::Object(self.to_values()))
            .expect("a tree of tables, lists and scalars is TOML")
    }

    /// The values in which `self` and `other` differ, by key.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<ConfigDifference> {
        let (left, right) = (leaves(&self.to_values()), leaves(&other.to_values()));
        let keys: BTreeSet<&Key> = left.keys().chain(right.keys()).collect();
        keys.into_iter()
            .filter(|key| left.get(key) != right.get(key))
            .map(|key| ConfigDifference {
                key: key.to_string(),
                left: left.get(key).cloned(),
                right: right.get(key).cloned(),
            })
            .collect()
    }
}
