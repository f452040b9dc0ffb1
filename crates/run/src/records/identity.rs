//! `run.json` and `config.toml`: what a run is, and where it was last started.

use std::path::{Path, PathBuf};

use fineline_files::write_atomically;
use fineline_layout::{RUN_SCHEMA, RunDirectory, check_schema};
use fineline_train::{Rewarm, TrainingProgress};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::RunError;

/// `run.json`: what the run is made of, and where it was last started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Version of the formats in the directory: [`RUN_SCHEMA`].
    pub schema: u32,
    /// The run's name.
    pub name: String,
    /// Hash of the configuration ([`RunConfig::hash`]).
    pub config_hash: String,
    /// Fingerprint of everything that decides the training rows.
    pub data_fingerprint: String,
    /// BLAKE3 of the tokenizer's file.
    pub tokenizer_fingerprint: String,
    /// Parameters of the model.
    pub parameters: u64,
    /// Version of the program.
    pub version: String,
    /// Name of the machine, where it tells.
    pub host: Option<String>,
    /// Device of the last start.
    pub device: String,
    /// Ranks of the last start.
    pub ranks: usize,
    /// Threads of the last start, of each process.
    pub threads: usize,
    /// When the run was first started.
    pub created: jiff::Timestamp,
    /// When it was last started.
    pub started: jiff::Timestamp,
    /// What a run that branched off from another run's checkpoint began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<BranchOrigin>,
    /// The released weights that the run started from, and what is exact about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRecord>,
}

/// Where a run branched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchOrigin {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// What the user gave for it: the checkpoint itself, or the folder of its run.
    pub given: PathBuf,
}

/// `run.json`'s record of what a run started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRecord {
    /// `init.from`.
    pub from: String,
    /// The commit, of a model of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Steps that the weights stand for.
    pub step: u64,
    /// Tokens that they stand for.
    pub tokens: u64,
    /// What said so: a key of `[init]`, or a name.
    pub position_from: String,
    /// Steps over which the learning rate rises again.
    pub rewarm_steps: u64,
    /// What is as it was in the run that the weights are from.
    pub exact: Vec<String>,
    /// What isn't, or isn't known to be.
    pub not_exact: Vec<String>,
}

impl InitRecord {
    /// The second warm-up, if there is one.
    pub(crate) fn rewarm(&self) -> Option<Rewarm> {
        (self.rewarm_steps > 0).then_some(Rewarm { from: self.step, steps: self.rewarm_steps })
    }

    /// Where training stands before its first step.
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
    /// What the file system returns, with the path.
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
