//! `run.json` and `config.toml`: the identity of a run, and its last start.

use std::path::{Path, PathBuf};

use fineline_files::write_atomically;
use fineline_layout::{RUN_SCHEMA, RunDirectory, check_schema};
use fineline_train::{Rewarm, TrainingProgress};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::RunError;

/// `run.json`: the identity of a run, and its last start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Version of the formats in the directory: [`RUN_SCHEMA`].
    pub schema: u32,
    /// Name of the run.
    pub name: String,
    /// Hash of the configuration ([`RunConfig::hash`]).
    pub config_hash: String,
    /// Fingerprint of everything that determines the training rows.
    pub data_fingerprint: String,
    /// BLAKE3 of the tokenizer's file.
    pub tokenizer_fingerprint: String,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Version of fineline.
    pub version: String,
    /// Name of the host, if it has one.
    pub host: Option<String>,
    /// Device of the last start.
    pub device: String,
    /// Number of ranks of the last start.
    pub ranks: usize,
    /// Threads per process of the last start.
    pub threads: usize,
    /// Time of the first start.
    pub created: jiff::Timestamp,
    /// Time of the last start.
    pub started: jiff::Timestamp,
    /// The checkpoint that the run branched off from, if it is a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<BranchOrigin>,
    /// The released weights that the run started from, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRecord>,
}

/// Where a run branched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchOrigin {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// The path that the user gave: the checkpoint itself, or the directory of its run.
    pub given: PathBuf,
}

/// The weights that a run started from, in `run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRecord {
    /// `init.from`.
    pub from: String,
    /// Commit of the repository, for a model of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Number of steps that the weights were trained for.
    pub step: u64,
    /// Number of tokens that the weights were trained on.
    pub tokens: u64,
    /// Source of that position: a key of `[init]`, or a name.
    pub position_from: String,
    /// Steps over which the learning rate rises again.
    pub rewarm_steps: u64,
    /// Properties that are the same as in the run that the weights come from.
    pub exact: Vec<String>,
    /// Properties that differ, or may differ.
    pub not_exact: Vec<String>,
}

impl InitRecord {
    /// Returns the second warm-up, if there is one.
    pub(crate) fn rewarm(&self) -> Option<Rewarm> {
        (self.rewarm_steps > 0).then_some(Rewarm { from: self.step, steps: self.rewarm_steps })
    }

    /// Returns the progress before the first step of this run.
    pub(crate) fn progress(&self) -> TrainingProgress {
        TrainingProgress { step: self.step, tokens: self.tokens, consecutive_skips: 0 }
    }
}

impl RunIdentity {
    /// Reads the identity of the run in `directory`. `None` if there is no run.
    ///
    /// # Errors
    /// A `run.json` that can't be read, or was written with a newer schema.
    pub fn read(directory: &RunDirectory) -> Result<Option<Self>, RunError> {
        let path = directory.identity();
        if !path.exists() {
            return Ok(None);
        }
        Self::parse(&path, &fs::read(&path)?).map(Some)
    }

    /// Parses the content of the `run.json` at `path`.
    ///
    /// # Errors
    /// Content that isn't the JSON of a run, or was written with a newer schema.
    pub fn parse(path: &Path, json: &[u8]) -> Result<Self, RunError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let broken = |source| RunError::Json { path: path.to_owned(), source };
        let Versioned { schema } = serde_json::from_slice(json).map_err(broken)?;
        check_schema(schema, RUN_SCHEMA)
            .map_err(|source| RunError::Schema { path: path.to_owned(), source })?;
        serde_json::from_slice(json).map_err(broken)
    }

    /// Writes `run.json` and `config.toml` into `directory`.
    ///
    /// # Errors
    /// An I/O error, with the path.
    pub fn write(&self, directory: &RunDirectory, config: &RunConfig) -> Result<(), RunError> {
        let path = directory.identity();
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| RunError::Json { path: path.clone(), source })?;
        json.push(b'\n');
        // First, because it makes the directory that of a run.
        write_atomically(&path, &json)?;
        Ok(write_atomically(&directory.config(), config.to_toml().as_bytes())?)
    }
}

/// Reads the configuration that the run in `directory` was last started with. `None` if there is no run.
///
/// # Errors
/// A `config.toml` that can't be read as a configuration.
pub fn read_run_config(directory: &RunDirectory) -> Result<Option<RunConfig>, RunError> {
    let path = directory.config();
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| RunError::StoredConfig { path, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_a_newer_schema_is_refused_by_name() {
        let error = RunIdentity::parse(Path::new("run/run.json"), b"{\"schema\": 2}").unwrap_err();
        let message = error.to_string();
        assert_eq!(
            message,
            "run/run.json: has schema 2, but this build reads schema 1; use a newer fineline"
        );
    }
}
