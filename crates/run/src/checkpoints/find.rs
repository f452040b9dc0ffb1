//! Finds the checkpoint or the weights that a path refers to.

use std::path::{Path, PathBuf};

use fineline_layout::{CHECKPOINTS_DIR, LATEST_FILE, MANIFEST_FILE, MODEL_CONFIG_FILE, STATE_FILE};
use fineline_train::{CheckpointDirectory, CheckpointState};
use fs_err as fs;

use crate::error::RunError;

/// Finds the checkpoint that `path` refers to: a model directory itself, or the newest checkpoint of a run's
/// directory, of its `checkpoints`, or by its `latest`.
///
/// # Errors
/// [`RunError::NoCheckpoint`] with the checkpoints in the same directory.
pub fn find_checkpoint(path: &Path) -> Result<PathBuf, RunError> {
    if path.join(MODEL_CONFIG_FILE).is_file() {
        return Ok(path.to_owned());
    }
    let latest = [path.join(CHECKPOINTS_DIR).join(LATEST_FILE), path.join(LATEST_FILE), path.to_owned()];
    if let Some(latest) = latest.iter().find(|path| path.is_file() && path.ends_with(LATEST_FILE)) {
        let named = latest.with_file_name(fs::read_to_string(latest)?.trim());
        if named.join(MODEL_CONFIG_FILE).is_file() {
            return Ok(named);
        }
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let beside = CheckpointDirectory::new(dir).steps()?;
    Err(RunError::NoCheckpoint { path: path.to_owned(), beside })
}

/// Finds the weights that `path` refers to: those of [`find_checkpoint`], or a file or directory of weights
/// without a configuration. A checkpoint of a run is verified against its manifest.
///
/// # Errors
/// [`RunError::NoCheckpoint`] if there is nothing. A damaged checkpoint.
pub fn find_weights(path: &Path) -> Result<PathBuf, RunError> {
    let found = locate_weights(path)?;
    hold_to_manifest(&found)?;
    Ok(found)
}

/// As [`find_weights`], without the verification, which takes as long as reading the weights.
pub(crate) fn locate_weights(path: &Path) -> Result<PathBuf, RunError> {
    match find_checkpoint(path) {
        Err(RunError::NoCheckpoint { .. }) if path.exists() => Ok(path.to_owned()),
        found => found,
    }
}

/// Verifies weights against their manifest, if they have one.
pub(crate) fn hold_to_manifest(weights: &Path) -> Result<(), RunError> {
    if weights.join(MANIFEST_FILE).is_file() {
        fineline_train::verify_checkpoint(weights)?;
    }
    Ok(())
}

/// Reads the step and the number of tokens of a checkpoint from its state. `None` if it has no state.
pub(crate) fn position(checkpoint: &Path) -> Result<Option<(u64, u64)>, RunError> {
    let path = checkpoint.join(STATE_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    let state: CheckpointState =
        serde_json::from_str(&text).map_err(|source| RunError::Json { path, source })?;
    Ok(Some((state.progress.step, state.progress.tokens)))
}
