use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use crate::checkpoint::snapshot::Snapshot;
use crate::{
    CheckpointConfig, CheckpointFolder, CheckpointState, Milestones, RunIdentity, TrainError, Trainer,
};

/// Writes the checkpoints of a run: one at a time, in the background.
///
/// An error of the background comes back from the next call here; a few in a row are survived ([`Written::Failed`]). Dropping it waits for the write under way.
pub struct Checkpointer {
    folder: CheckpointFolder,
    cadence: Arc<Cadence>,
    identity: Arc<RunIdentity>,
    /// The step that the newest checkpoint is of, written or being written.
    newest: Option<u64>,
    writing: Option<JoinHandle<Result<SavedCheckpoint, TrainError>>>,
    /// When that began.
    began: Instant,
    /// Checkpoints in a row that could not be written.
    failures: u32,
    /// The step from which on the last of these is made up for.
    retry_at: Option<u64>,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It stands.
    Saved(SavedCheckpoint),
    /// It doesn't. Training may go on: another attempt follows.
    Failed(FailedCheckpoint),
}

/// A checkpoint that could not be written. Nothing of it is left; earlier ones are untouched.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedCheckpoint {
    /// The step that it was of.
    pub step: u64,
    /// The folder that it was to become.
    pub path: PathBuf,
    /// Bytes that it needs.
    pub bytes: u64,
    /// What the system said.
    pub reason: String,
    /// Checkpoints in a row that failed, this one included.
    pub in_a_row: u32,
}

/// When checkpoints are taken, and which are kept.
#[derive(Clone, Debug, Default)]
pub struct Cadence {
    /// In regular steps.
    pub config: CheckpointConfig,
    /// Besides.
    pub milestones: Milestones,
}

impl From<CheckpointConfig> for Cadence {
    fn from(config: CheckpointConfig) -> Self {
        Self { config, milestones: Milestones::new() }
    }
}

/// A checkpoint that stands whole under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedCheckpoint {
    /// The step after which it was taken.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
    /// Size of all its files.
    pub bytes: u64,
    /// Seconds that writing took in the background, from the snapshot until it had its name.
    pub write_s: f64,
    /// Steps of which the checkpoint was removed after it, by `keep_last` and `keep_every`.
    pub removed: Vec<u64>,
}

impl Checkpointer {
    /// For a run that stands at `step`: 0, or that of the checkpoint it resumes from.
    ///
    /// Creates the folder if need be, removes the remains of interrupted writes, and sets aside checkpoints beyond `step`
    /// as `abandoned-...`: damaged ones, and those of a future that the run has gone back behind.
    pub fn open(
        folder: CheckpointFolder,
        cadence: impl Into<Cadence>,
        identity: RunIdentity,
        step: u64,
    ) -> Result<Self, TrainError> {
        let cadence: Cadence = cadence.into();
        cadence.config.validate()?;
        folder.prepare(step)?;
        let steps = folder.steps()?;
        for (&step, link) in cadence.milestones.iter().filter(|(step, _)| steps.contains(step)) {
            folder.link(link, step)?;
        }
        let newest = steps.last().copied();
        Ok(Self {
            folder,
            cadence: Arc::new(cadence),
            identity: Arc::new(identity),
            newest,
            writing: None,
            began: Instant::now(),
            failures: 0,
            retry_at: None,
        })
    }

    /// Whether the cadence has a checkpoint after this step.
    #[must_use]
    pub fn is_due(&self, step: u64) -> bool {
        let Cadence { config, milestones } = &*self.cadence;
        let is_regular = step.is_multiple_of(config.every_steps) || milestones.contains_key(&step);
        let makes_up = self.retry_at.is_some_and(|retry_at| step >= retry_at);
        step > 0 && (is_regular || makes_up)
    }

    /// The step of the checkpoint that is being written, and for how many seconds it has been.
    #[must_use]
    pub fn under_way(&self) -> Option<(u64, f64)> {
        let is_writing = self.writing.as_ref().is_some_and(|thread| !thread.is_finished());
        self.newest.filter(|_| is_writing).map(|step| (step, self.began.elapsed().as_secs_f64()))
    }

    /// Whether the newest checkpoint, be it still being written, is of this step.
    #[must_use]
    pub fn has(&self, step: u64) -> bool {
        self.newest == Some(step)
    }

    /// Takes a snapshot of the trainer and begins to write it. If the last one is still being written, waits for it;
    /// call [`wait`](Self::wait) before to learn what became of that.
    ///
    /// The snapshot shares memory with the live tensors until the next update.
    pub fn save(&mut self, trainer: &Trainer, observers: BTreeMap<String, Value>) -> Result<(), TrainError> {
        self.wait()?;
        let (model, optimizer) = trainer.snapshot();
        let state = CheckpointState {
            progress: trainer.progress(),
            updates: optimizer.updates,
            milestone: self.cadence.milestones.get(&trainer.progress().step).cloned(),
            rewarm: trainer.recipe().rewarm,
            seed: self.identity.seed,
            config_hash: self.identity.config_hash.clone(),
            data_fingerprint: self.identity.data_fingerprint.clone(),
            observers,
        };
        let step = state.progress.step;
        let snapshot =
            Snapshot { model, moments: optimizer.moments, state, identity: Arc::clone(&self.identity) };
        let (folder, cadence) = (self.folder.clone(), Arc::clone(&self.cadence));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        self.writing = Some(thread.spawn(move || publish(&snapshot, &folder, &cadence))?);
        (self.newest, self.began, self.retry_at) = (Some(step), Instant::now(), None);
        Ok(())
    }

    /// What became of the last checkpoint, if it has come to its end since the last call.
    pub fn poll(&mut self) -> Result<Option<Written>, TrainError> {
        match &self.writing {
            Some(thread) if thread.is_finished() => self.wait(),
            _ => Ok(None),
        }
    }

    /// Waits for the checkpoint being written, and says what became of it.
    ///
    /// # Errors
    /// [`TrainError::TooManyFailures`] for the last failure that `checkpoint.max_failures` allows; [`TrainError::FolderGone`].
    pub fn wait(&mut self) -> Result<Option<Written>, TrainError> {
        let Some(thread) = self.writing.take() else { return Ok(None) };
        // A panic there is a bug, and is shown as what it is.
        let saved = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match saved {
            Ok(saved) => {
                self.failures = 0;
                Ok(Some(Written::Saved(saved)))
            }
            Err(error) => self.survive(error).map(|failed| Some(Written::Failed(failed))),
        }
    }

    /// Takes note of a failure, if the run can live with it.
    fn survive(&mut self, error: TrainError) -> Result<FailedCheckpoint, TrainError> {
        let step = self.newest.take().unwrap_or_default();
        self.failures += 1;
        if !self.folder.path().is_dir() {
            return Err(TrainError::FolderGone { path: self.folder.path().to_owned() });
        }
        let config = &self.cadence.config;
        match error {
            TrainError::CheckpointWrite { path, needed, source } if self.failures < config.max_failures => {
                self.retry_at = Some(step + config.retry_after());
                let reason = source.to_string();
                Ok(FailedCheckpoint { step, path, bytes: needed, reason, in_a_row: self.failures })
            }
            error @ TrainError::CheckpointWrite { .. } => {
                Err(TrainError::TooManyFailures { count: self.failures, last: Box::new(error) })
            }
            error => Err(error),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(Ok(Err(error))) = self.writing.take().map(JoinHandle::join) {
            tracing::error!(%error, "the last checkpoint was lost");
        }
    }
}

/// Writes a checkpoint under another name, gives it its own, and removes those that retention lets go.
///
/// With its name it is saved. Nothing that goes wrong after that may say otherwise.
fn publish(
    snapshot: &Snapshot,
    folder: &CheckpointFolder,
    cadence: &Cadence,
) -> Result<SavedCheckpoint, TrainError> {
    let start = Instant::now();
    let step = snapshot.state.progress.step;
    let writing = folder.writing(step);
    let bytes = write_and_rename(snapshot, folder, &writing).map_err(|source| {
        // Best effort: if it stays, the next start of the run removes it.
        let _ = fs_err::remove_dir_all(&writing);
        TrainError::CheckpointWrite { path: folder.checkpoint(step), needed: snapshot.bytes_needed(), source }
    })?;
    let write_s = start.elapsed().as_secs_f64();
    if let Some(link) = &snapshot.state.milestone
        && let Err(error) = folder.link(link, step)
    {
        tracing::warn!(
            "the checkpoint of step {step} is whole, but there is no link `{link}` to it: {error}"
        );
    }
    let named = folder.set_latest(step);
    let removed = remove_outdated(folder, cadence);
    // What was removed may have left the room that was lacking.
    if let Err(error) = named.or_else(|_| folder.set_latest(step)) {
        tracing::warn!("the checkpoint of step {step} is whole, but `latest` does not name it: {error}");
    }
    Ok(SavedCheckpoint { step, path: folder.checkpoint(step), bytes, write_s, removed })
}

fn write_and_rename(snapshot: &Snapshot, folder: &CheckpointFolder, writing: &Path) -> std::io::Result<u64> {
    if writing.exists() {
        fs_err::remove_dir_all(writing)?;
    }
    fs_err::create_dir(writing)?;
    let bytes = snapshot.write(writing)?;
    folder.publish(snapshot.state.progress.step)?;
    Ok(bytes)
}

/// Removes the checkpoints that are not to be kept, and gives the steps of those that are gone. That one can't be removed
/// is no reason to stop: the new one is whole.
fn remove_outdated(folder: &CheckpointFolder, cadence: &Cadence) -> Vec<u64> {
    let steps = folder.steps().unwrap_or_else(|error| {
        tracing::warn!("can't look for outdated checkpoints: {error}");
        Vec::new()
    });
    let remove = |&step: &u64| match folder.remove(step) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("can't remove the checkpoint of step {step}: {error}");
            false
        }
    };
    cadence.config.outdated(&steps, &cadence.milestones).filter(remove).collect()
}
