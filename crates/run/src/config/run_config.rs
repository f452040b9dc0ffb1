//! The whole configuration, and differences between two of them.

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
    /// Name, directory, seed and device of the run.
    pub run: RunSection,
    /// The model: the name of a preset (`preset = "llama-7b"`), or the fields of a Hugging Face LLaMA
    /// `config.json`.
    pub model: LlamaConfig,
    /// Weights to start from. Absent: the model is initialized randomly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<InitConfig>,
    /// The generated world. Its text is the source of a `[[data.mix]]` table with `path = "tinyworld"`.
    #[serde(default)]
    pub tinyworld: WorldConfig,
    /// The tokenizer, and the special tokens around a document.
    #[serde(default)]
    pub tokenizer: TokenizerConfig,
    /// The training text, and how it is cut into rows.
    pub data: DataConfig,
    /// The optimizer.
    #[serde(default)]
    pub optim: OptimConfig,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Length of the run and batch sizes.
    pub train: TrainConfig,
    /// When checkpoints are written, and which are kept.
    #[serde(default)]
    #[schemars(extend("x-resume" = "may-change"))]
    pub checkpoint: CheckpointConfig,
    /// Upload of checkpoints and logs to remote storage. Requires a build with `--features storage`.
    #[serde(default)]
    #[schemars(extend("x-resume" = "may-change"))]
    pub storage: StorageConfig,
    /// Loss on held-out rows, per source.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Suites of tasks, and the schedules on which the model is evaluated on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-resume" = "may-change"))]
    pub probes: Vec<ProbeConfig>,
    /// Reactions to steps that go wrong.
    #[serde(default)]
    pub guard: GuardConfig,
    /// How several ranks share a step.
    #[serde(default)]
    pub distributed: DistributedConfig,
    /// Actions that follow from evaluation results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-resume" = "may-change"))]
    pub triggers: Vec<TriggerConfig>,
    /// Logs and metrics.
    #[serde(default)]
    #[schemars(extend("x-resume" = "may-change"))]
    pub log: LogConfig,
}

/// A value that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigDifference {
    /// Key of the value.
    pub key: String,
    /// Value in the left configuration. None if it has no such key.
    pub left: Option<Value>,
    /// Value in the right configuration. None if it has no such key.
    pub right: Option<Value>,
}

impl RunConfig {
    /// Returns the keys of all values that are set.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        leaves(&self.to_values()).keys().map(ToString::to_string).collect()
    }

    /// Returns the configuration as a tree of values, without those that are unset.
    #[must_use]
    pub fn to_values(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut values)) = serde_json::to_value(self) else {
            unreachable!("every section is a table with string keys")
        };
        drop_nulls(&mut values);
        values
    }

    /// Returns the configuration as a TOML file that resolves to itself.
    ///
    /// # Panics
    /// Never: every section is a table.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&Value::Object(self.to_values()))
            .expect("a tree of tables, lists and scalars is TOML")
    }

    /// Returns the values in which `self` and `other` differ, by key.
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
