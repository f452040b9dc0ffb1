//! From configuration files and overrides to a checked [`RunConfig`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_diagnostics::{Key, choice_hint};
use fineline_model::LlamaConfig;
use serde_json::Value;

use super::error::ConfigError;
use super::layers::{Layers, ValueOrigin, place};
use super::problems::problems;
use super::run_config::RunConfig;
use super::schema::refuse_unknown_keys;

/// A configuration together with where its values came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    file: PathBuf,
    origins: BTreeMap<Key, ValueOrigin>,
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
        refuse_unknown_keys(&layers)?;
        let config = deserialize(&layers)?;
        let resolved = Self { config, file: layers.file, origins: layers.origins };
        resolved.validate()?;
        Ok(resolved)
    }

    /// Where the value at `key` came from.
    #[must_use]
    pub fn origin(&self, key: &Key) -> ValueOrigin {
        self.origins.get(key).cloned().unwrap_or(ValueOrigin::Default)
    }

    /// The error that `message` is about the value at `key`. Other keys in the message that were given by `--set` are told: nobody
    /// finds them in the file.
    #[must_use]
    pub fn invalid(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let key: Key = key.parse().unwrap_or_default();
        let mut message = message.into();
        let overridden = self.origins.iter().filter(|(_, origin)| **origin == ValueOrigin::Override);
        let others = overridden.map(|(other, _)| other.to_string());
        let told: Vec<String> = others.filter(|other| message.contains(other)).collect();
        let written_at = place(&self.file, &self.origins, &key);
        if !told.is_empty() && written_at != ValueOrigin::Override.to_string() {
            message = format!("{message}; --set gives {}", told.join(" and "));
        }
        ConfigError::Invalid { place: written_at, key, message }
    }

    /// Checks ranges and what sections ask of one another.
    fn validate(&self) -> Result<(), ConfigError> {
        problems(&self.config)
            .into_iter()
            .next()
            .map_or(Ok(()), |problem| Err(self.invalid(&problem.key, problem.message)))
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
                .insert(Key::default().field("model").field(&field), ValueOrigin::Preset(name.to_owned()));
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
