//! `state.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::format::STATE;
use crate::error::TrainError;
use crate::guard::GuardState;
use crate::progress::TrainingProgress;
use crate::rows::SkippedRows;
use crate::schedule::Rewarm;

/// `state.json`: all of a run's state that is not a tensor.
///
/// It holds no time and no path, so that two runs that computed the same have the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// How far the run had come.
    #[serde(flatten)]
    pub progress: TrainingProgress,
    /// Updates that the optimizer had made: steps less the skipped ones.
    pub updates: u64,
    /// The name of the checkpoint, if it is a [milestone](crate::CheckpointMilestones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
    /// The second warm-up that the run began with, if it did: whoever goes on from here is in it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewarm: Option<Rewarm>,
    /// The rows that the run leaves out.
    #[serde(default, skip_serializing_if = "SkippedRows::is_empty")]
    pub skipped_rows: SkippedRows,
    /// What the guard remembers.
    #[serde(default)]
    pub guard: GuardState,
    /// `run.seed`.
    pub seed: u64,
    /// Hash of the run's resolved configuration.
    pub config_hash: String,
    /// Fingerprint of everything that decides the rows.
    pub data_fingerprint: String,
    /// What observers wanted kept, by their names.
    pub observers: BTreeMap<String, Value>,
}

impl CheckpointState {
    /// Reads `state.json` of the checkpoint in `folder`, without its tensors.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let bytes = fs_err::read(folder.join(STATE))?;
        serde_json::from_slice(&bytes).map_err(|error| TrainError::Damaged {
            path: folder.to_owned(),
            reason: format!("{STATE}: {error}"),
        })
    }
}
