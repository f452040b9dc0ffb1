//! Configuration files and overrides, resolved and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fineline_diagnostics::{Key, Problem, Problems};

use super::checks::{check, section_of};
use super::error::ConfigError;
use super::layers::{Layers, ValueOrigin, location};
use super::read::{expand_preset, read};
use super::run_config::RunConfig;
use super::values::value_at;

/// A configuration together with the origin of each value.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    file: PathBuf,
    origins: BTreeMap<Key, ValueOrigin>,
}

impl Resolved {
    /// Reads and resolves `path`, then applies `overrides` (`key=value`) in their order. Nothing but
    /// configuration files is read.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all problems of the configuration, each with its key and where it was
    /// set. Any other [`ConfigError`] if a file can't be read or isn't TOML, or an override isn't
    /// `key=value`.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(path)?;
        for assignment in overrides {
            layers.set(assignment)?;
        }
        Self::from_layers(layers)
    }

    fn from_layers(mut layers: Layers) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        expand_preset(&mut layers, &mut problems);
        let config = read(&layers.values, &mut problems);
        if let Some(config) = &config {
            let unread: BTreeSet<String> = problems.iter().map(|problem| section_of(&problem.key)).collect();
            problems.extend(check(config, &unread));
        }
        let Layers { file, origins, .. } = layers;
        if let Some(config) = config.filter(|_| problems.is_empty()) {
            return Ok(Self { config, file, origins });
        }
        let problems = problems.into_iter().map(|problem| located(&file, &origins, problem)).collect();
        Err(ConfigError::Invalid { file, problems })
    }

    /// The origin of the value at `key`.
    #[must_use]
    pub fn origin(&self, key: &Key) -> ValueOrigin {
        self.origins.get(key).cloned().unwrap_or(ValueOrigin::Default)
    }

    /// The error that the value at `key` can't be used. The value itself is added to the message.
    #[must_use]
    pub fn invalid(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let key: Key = key.parse().unwrap_or_default();
        let problem = Problem::new(key.clone(), message);
        let values = self.config.to_values();
        let value = value_at(&values, &key).filter(|value| !value.is_object() && !value.is_array());
        self.located(match value {
            Some(value) => problem.with_value(format_args!("{value}")).into(),
            None => problem.into(),
        })
    }

    /// The error that consists of these problems, each with the place where its value was set.
    #[must_use]
    pub fn located(&self, problems: Problems) -> ConfigError {
        let problems =
            problems.into_iter().map(|problem| located(&self.file, &self.origins, problem)).collect();
        ConfigError::Invalid { file: self.file.clone(), problems }
    }
}

/// Adds where the value was set, and which other keys in the message were given by `--set`: those aren't in
/// the file.
fn located(file: &Path, origins: &BTreeMap<Key, ValueOrigin>, mut problem: Problem) -> Problem {
    let found = location(file, origins, &problem.key);
    let overridden = origins.iter().filter(|(_, origin)| **origin == ValueOrigin::Override);
    let others = overridden.map(|(other, _)| other.to_string());
    let mentioned: Vec<String> = others.filter(|other| problem.message.contains(other)).collect();
    if !mentioned.is_empty() && found != ValueOrigin::Override.to_string() {
        problem.message = format!("{}; --set gives {}", problem.message, mentioned.join(" and "));
    }
    Problem { place: Some(found), ..problem }
}
