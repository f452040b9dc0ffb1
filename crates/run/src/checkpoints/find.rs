//! Checkpoints of a run: what they carry besides tensors, and how one is found.

use std::path::{Path, PathBuf};

use fineline_layout::{CHECKPOINTS_DIR, LATEST_FILE, MANIFEST_FILE, MODEL_CONFIG_FILE, STATE_FILE};
use fineline_train::{CheckpointDirectory, CheckpointState};
use fs_err as fs;

use crate::error::RunError;

/// The checkpoint that `path` means: a model folder itself, or the newest checkpoint of a run's folder, of its `checkpoints` or by its
/// `latest`.
///
/// # Errors
/// [`RunError::NoCheckpoint`], with those that lie beside it.
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
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = CheckpointDirectory::new(folder).steps()?;
    Err(RunError::NoCheckpoint { path: path.to_owned(), beside })
}

/// The weights that `path` means: those of [`find_checkpoint`], or a file or folder that holds weights and no configuration. A
/// run's checkpoint is held to its manifest.
///
/// # Errors
/// [`RunError::NoCheckpoint`] if nothing is there; a checkpoint that is damaged.
pub fn find_weights(path: &Path) -> Result<PathBuf, RunError> {
    let found = locate_weights(path)?;
    hold_to_manifest(&found)?;
    Ok(found)
}

/// The same, but whether they are whole is not looked at: that takes as long as reading them.
pub(crate) fn locate_weights(path: &Path) -> Result<PathBuf, RunError> {
    match find_checkpoint(path) {
        Err(RunError::NoCheckpoint { .. }) if path.exists() => Ok(path.to_owned()),
        found => found,
    }
}

/// Holds weights to their manifest, if they have one: a run's checkpoint does.
pub(crate) fn hold_to_manifest(weights: &Path) -> Result<(), RunError> {
    if weights.join(MANIFEST_FILE).is_file() {
        fineline_train::verify_checkpoint(weights)?;
    }
    Ok(())
}

/// Step and tokens of a checkpoint, where it says so itself.
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
