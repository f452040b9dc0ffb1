//! `state.json` of a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use fineline_layout::{CHECKPOINT_SCHEMA, STATE_FILE, check_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::TrainError;
use crate::guard::GuardState;
use crate::progress::TrainingProgress;
use crate::rows::SkippedRows;
use crate::schedule::Rewarm;

/// `state.json`: the state of a run except for tensors.
///
/// It contains no time and no path, so that equal runs have equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Version of the format, [`CHECKPOINT_SCHEMA`].
    pub schema: u32,
    /// Progress of the run.
    #[serde(flatten)]
    pub progress: TrainingProgress,
    /// Number of updates made by the optimizer: steps minus skipped steps.
    pub updates: u64,
    /// Name of the checkpoint, if it is a [milestone](crate::CheckpointMilestones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
    /// The second warm-up that the run started with, if any. It also applies to runs that resume from this
    /// checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewarm: Option<Rewarm>,
    /// Rows that the run skips.
    #[serde(default, skip_serializing_if = "SkippedRows::is_empty")]
    pub skipped_rows: SkippedRows,
    /// State of the guard.
    #[serde(default)]
    pub guard: GuardState,
    /// `run.seed`.
    pub seed: u64,
    /// Hash of the resolved configuration.
    pub config_hash: String,
    /// Fingerprint of everything that determines the rows.
    pub data_fingerprint: String,
    /// Values stored by observers, by name.
    pub observers: BTreeMap<String, Value>,
}

impl CheckpointState {
    /// Reads `state.json` of the checkpoint in `directory`.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the file can't be read; [`TrainError::Damaged`] if it isn't a valid state;
    /// [`TrainError::UnsupportedSchema`] if it was written by a newer version.
    pub fn read(directory: &Path) -> Result<Self, TrainError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let path = directory.join(STATE_FILE);
        let bytes = fs_err::read(&path)?;
        let damaged = |error: serde_json::Error| TrainError::Damaged {
            path: directory.to_owned(),
            reason: format!("{STATE_FILE}: {error}"),
        };
        // The version comes first: a newer format may have other fields.
        let Versioned { schema } = serde_json::from_slice(&bytes).map_err(damaged)?;
        check_schema(schema, CHECKPOINT_SCHEMA)
            .map_err(|source| TrainError::UnsupportedSchema { path, source })?;
        serde_json::from_slice(&bytes).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_a_known_version_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let read = |json: &str| {
            fs_err::write(temp.path().join(STATE_FILE), json).unwrap();
            CheckpointState::read(temp.path()).unwrap_err().to_string()
        };
        let message = read(r#"{"schema": 2}"#);
        assert!(message.contains("state.json was written by a newer fineline"), "{message}");
        let message = read(r#"{"step": 7}"#);
        assert!(message.contains("is damaged: state.json: missing field `schema`"), "{message}");
    }
}
