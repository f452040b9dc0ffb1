//! Writes checkpoints in the background.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use fineline_diagnostics::ConfigSection;
use fineline_layout::{CHECKPOINT_SCHEMA, CheckpointManifest};
use fineline_ranks::Ranks;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::config::{CheckpointConfig, CheckpointMilestones};
use crate::checkpoint::directory::CheckpointDirectory;
use crate::checkpoint::identity::CheckpointIdentity;
use crate::checkpoint::manifest::write_manifest;
use crate::checkpoint::snapshot::{CheckpointShard, CheckpointSnapshot, own_optimizer_state, own_weights};
use crate::checkpoint::state::CheckpointState;
use crate::distributed::Division;
use crate::error::TrainError;
use crate::step::Trainer;

/// Writes the checkpoints of a run, one at a time, in the background.
///
/// An error of a background write is returned by the next call. A few consecutive failures are tolerated
/// ([`WrittenCheckpoint::Failed`]). Dropping the checkpointer waits for the current write.
pub struct Checkpointer {
    directory: CheckpointDirectory,
    schedule: Arc<CheckpointSchedule>,
    identity: Arc<CheckpointIdentity>,
    /// The step of the newest checkpoint, written or being written.
    newest: Option<u64>,
    stage: WriteStage,
    /// The time at which the stage of that checkpoint started.
    started: Instant,
    /// Seconds that training was blocked by it.
    blocked_s: f64,
    /// Number of consecutive checkpoints that could not be written.
    failures: u32,
    /// The step from which the last of these is retried.
    retry_at: Option<u64>,
}

/// The result of writing a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenCheckpoint {
    /// It is complete.
    Saved(SavedCheckpoint),
    /// It could not be written. Training continues, and another attempt follows.
    Failed(FailedCheckpoint),
}

/// A checkpoint that could not be written. Its partial files are removed, earlier checkpoints are untouched.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedCheckpoint {
    /// Step of the checkpoint.
    pub step: u64,
    /// The directory that it would have become.
    pub path: PathBuf,
    /// Size of the checkpoint in bytes.
    pub bytes: u64,
    /// Error of the system.
    pub reason: String,
    /// Number of consecutive failures, this one included.
    pub consecutive: u32,
}

/// Stage of the checkpoint that is being written.
enum WriteStage {
    /// No checkpoint is being written.
    Idle,
    /// Each rank is writing its files.
    Writing { step: u64, needed: u64, thread: BackgroundTask<io::Result<CheckpointManifest>> },
    /// All ranks have written their files, and rank 0 is giving the checkpoint its name. Other ranks have no
    /// task. A single rank does both in one task.
    Publishing(Option<BackgroundTask<Result<SavedCheckpoint, TrainError>>>),
}

type BackgroundTask<T> = JoinHandle<T>;

/// The manifest of the files that a rank wrote, or the error.
type RankFiles = Result<CheckpointManifest, WriteFailure>;

/// An error of the system, as sent between ranks.
#[derive(Debug, Serialize, Deserialize)]
struct WriteFailure {
    needed: u64,
    code: Option<i32>,
    message: String,
}

impl WriteFailure {
    fn new(needed: u64, error: &io::Error) -> Self {
        Self { needed, code: error.raw_os_error(), message: error.to_string() }
    }

    fn into_error(self, rank: usize) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(format!("rank {rank}: {}", self.message)),
        }
    }
}

/// When checkpoints are written, and which are kept.
#[derive(Clone, Debug, Default)]
pub struct CheckpointSchedule {
    /// Regular checkpoints.
    pub config: CheckpointConfig,
    /// Additional checkpoints.
    pub milestones: CheckpointMilestones,
}

impl From<CheckpointConfig> for CheckpointSchedule {
    fn from(config: CheckpointConfig) -> Self {
        Self { config, milestones: CheckpointMilestones::new() }
    }
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedCheckpoint {
    /// The step after which it was taken.
    pub step: u64,
    /// Its directory.
    pub path: PathBuf,
    /// Size of all its files in bytes.
    pub bytes: u64,
    /// Duration of the background write in seconds, from the snapshot until it had its name.
    pub write_s: f64,
    /// Seconds that training was blocked: until the previous checkpoint was written, logs were synced, and
    /// the snapshot was taken.
    pub blocked_s: f64,
    /// Steps whose checkpoints were removed after it, according to `keep_last` and `keep_every`.
    pub removed: Vec<u64>,
}

impl Checkpointer {
    /// Opens the directory for a run at `step`: 0, or the step of the checkpoint that it resumes from.
    /// Collective.
    ///
    /// Rank 0 [prepares](CheckpointDirectory::prepare) the directory, which renames checkpoints after `step`
    /// to `abandoned-...`.
    ///
    /// # Errors
    /// [`TrainError::Config`] if the configuration is invalid; [`TrainError::Io`] if the directory can't be
    /// changed.
    pub fn open(
        directory: CheckpointDirectory,
        schedule: impl Into<CheckpointSchedule>,
        identity: CheckpointIdentity,
        step: u64,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        let schedule: CheckpointSchedule = schedule.into();
        schedule.config.validate("checkpoint")?;
        if ranks.is_first() {
            directory.prepare(step)?;
        }
        ranks.barrier();
        let steps = directory.steps()?;
        for (&step, link) in
            schedule.milestones.iter().filter(|(step, _)| steps.contains(step) && ranks.is_first())
        {
            directory.link(link, step)?;
        }
        let newest = steps.last().copied();
        Ok(Self {
            directory,
            schedule: Arc::new(schedule),
            identity: Arc::new(identity),
            newest,
            stage: WriteStage::Idle,
            started: Instant::now(),
            blocked_s: 0.0,
            failures: 0,
            retry_at: None,
        })
    }

    /// Returns whether there is to be a checkpoint after this step.
    #[must_use]
    pub fn is_due(&self, step: u64) -> bool {
        let CheckpointSchedule { config, milestones } = &*self.schedule;
        let is_regular = step.is_multiple_of(config.every_steps) || milestones.contains_key(&step);
        let is_retry = self.retry_at.is_some_and(|retry_at| step >= retry_at);
        step > 0 && (is_regular || is_retry)
    }

    /// Returns the step of the checkpoint that is being written, and the seconds since its write started.
    #[must_use]
    pub fn in_progress(&self) -> Option<(u64, f64)> {
        let is_writing = !matches!(self.stage, WriteStage::Idle) && !self.is_ready();
        self.newest.filter(|_| is_writing).map(|step| (step, self.started.elapsed().as_secs_f64()))
    }

    /// Records how long training was blocked by the checkpoint that is being written.
    pub(crate) fn record_blocked(&mut self, seconds: f64) {
        self.blocked_s = seconds;
    }

    /// Returns whether the newest checkpoint is of this step, even if it is still being written.
    #[must_use]
    pub fn has(&self, step: u64) -> bool {
        self.newest == Some(step)
    }

    /// Changes the milestones. Skipped rows move them to earlier steps.
    pub(crate) fn change_milestones(&mut self, change: impl FnOnce(&mut CheckpointMilestones)) {
        change(&mut Arc::make_mut(&mut self.schedule).milestones);
    }

    /// Takes a snapshot of the trainer and starts to write it. Collective. The values of observers are those
    /// of rank 0.
    ///
    /// Waits for the previous checkpoint if it is still being written. Call [`wait`](Self::wait) before to
    /// get its result. The snapshot shares memory with the live tensors until the next update.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance) for the previous checkpoint; [`TrainError::Io`] if no thread can
    /// be started.
    pub fn save(
        &mut self,
        trainer: &Trainer,
        observers: BTreeMap<String, Value>,
        ranks: &dyn Ranks,
    ) -> Result<(), TrainError> {
        self.wait(ranks)?;
        let snapshot = self.snapshot(trainer, observers, ranks);
        let step = snapshot.state.progress.step;
        let (directory, schedule) = (self.directory.clone(), Arc::clone(&self.schedule));
        self.stage = if ranks.size() == 1 {
            WriteStage::Publishing(Some(background(move || {
                write_and_publish(&snapshot, &directory, &schedule)
            })?))
        } else {
            let writing = directory.writing_path(step);
            let needed = snapshot.bytes_needed();
            let created = if ranks.is_first() { create_empty_dir(&writing) } else { Ok(()) };
            ranks.barrier();
            WriteStage::Writing {
                step,
                needed,
                thread: background(move || created.and_then(|()| snapshot.write(&writing)))?,
            }
        };
        (self.newest, self.started, self.retry_at) = (Some(step), Instant::now(), None);
        Ok(())
    }

    fn snapshot(
        &self,
        trainer: &Trainer,
        observers: BTreeMap<String, Value>,
        ranks: &dyn Ranks,
    ) -> CheckpointSnapshot {
        let (model, optimizer) = trainer.snapshot();
        let state = CheckpointState {
            schema: CHECKPOINT_SCHEMA,
            progress: trainer.progress(),
            updates: optimizer.updates,
            milestone: self.schedule.milestones.get(&trainer.progress().step).cloned(),
            rewarm: trainer.recipe().rewarm,
            skipped_rows: trainer.rows().skipped_rows().clone(),
            guard: trainer.guard().state.clone(),
            seed: self.identity.seed,
            config_hash: self.identity.config_hash.clone(),
            data_fingerprint: self.identity.data_fingerprint.clone(),
            observers,
        };
        let shard = (ranks.size() > 1).then(|| CheckpointShard {
            rank: ranks.rank(),
            size: ranks.size(),
            is_sharded: trainer.division().is_some_and(Division::shards_optimizer_state),
        });
        CheckpointSnapshot {
            config: model.config().clone(),
            weights: own_weights(&model, shard.as_ref()),
            optimizer_state: own_optimizer_state(model.config(), &optimizer.state, shard.as_ref()),
            state,
            identity: Arc::clone(&self.identity),
            shard,
        }
    }

    /// Returns whether the task of this rank has finished, so that [`advance`](Self::advance) doesn't block.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.stage {
            WriteStage::Idle | WriteStage::Publishing(None) => true,
            WriteStage::Writing { thread, .. } => thread.is_finished(),
            WriteStage::Publishing(Some(thread)) => thread.is_finished(),
        }
    }

    /// Moves the checkpoint that is being written to its next stage, and returns the result if it was the
    /// last. Collective.
    ///
    /// Waits for ranks that aren't [ready](Self::is_ready). All ranks get the same failure; success is
    /// returned on rank 0 only.
    ///
    /// # Errors
    /// [`TrainError::TooManyFailures`] once `checkpoint.max_failures` consecutive checkpoints have failed;
    /// [`TrainError::CheckpointsDirectoryGone`] if the directory disappeared.
    pub fn advance(&mut self, ranks: &dyn Ranks) -> Result<Option<WrittenCheckpoint>, TrainError> {
        match std::mem::replace(&mut self.stage, WriteStage::Idle) {
            WriteStage::Idle => Ok(None),
            WriteStage::Writing { step, needed, thread } => {
                let own = join(thread).map_err(|error| WriteFailure::new(needed, &error));
                let manifest = match self.gather_manifest(step, &own, ranks) {
                    Ok(manifest) => manifest,
                    Err(error) => {
                        return self
                            .record_failure(error)
                            .map(|failed| Some(WrittenCheckpoint::Failed(failed)));
                    }
                };
                let (directory, schedule) = (self.directory.clone(), Arc::clone(&self.schedule));
                let link = self.schedule.milestones.get(&step).cloned();
                let started = self.started;
                let publish_task =
                    move || publish(step, &manifest, link.as_deref(), &directory, &schedule, started);
                self.stage = WriteStage::Publishing(if ranks.is_first() {
                    Some(background(publish_task)?)
                } else {
                    None
                });
                Ok(None)
            }
            WriteStage::Publishing(thread) => {
                let saved = self.broadcast_result(thread.map(join), ranks);
                match saved {
                    Ok(saved) => {
                        self.failures = 0;
                        let blocked_s = self.blocked_s;
                        Ok(saved
                            .map(|saved| WrittenCheckpoint::Saved(SavedCheckpoint { blocked_s, ..saved })))
                    }
                    Err(error) => {
                        self.record_failure(error).map(|failed| Some(WrittenCheckpoint::Failed(failed)))
                    }
                }
            }
        }
    }

    /// Shares the result of rank 0 with all ranks.
    fn broadcast_result(
        &self,
        own: Option<Result<SavedCheckpoint, TrainError>>,
        ranks: &dyn Ranks,
    ) -> Result<Option<SavedCheckpoint>, TrainError> {
        let failure = match &own {
            Some(Err(TrainError::CheckpointWrite { needed, source, .. })) => {
                Some(WriteFailure::new(*needed, source))
            }
            Some(Err(error)) => Some(WriteFailure { needed: 0, code: None, message: error.to_string() }),
            Some(Ok(_)) | None => None,
        };
        let failure = ranks.broadcast(Some(failure));
        match (own, failure) {
            (Some(own), _) => own.map(Some),
            (None, Some(failure)) => Err(self.write_error(failure, 0)),
            (None, None) => Ok(None),
        }
    }

    fn write_error(&self, failure: WriteFailure, rank: usize) -> TrainError {
        let path = self.directory.checkpoint(self.newest.unwrap_or_default());
        TrainError::CheckpointWrite { path, needed: failure.needed, source: failure.into_error(rank) }
    }

    /// Gathers the manifest of all ranks' files, or the first failure.
    fn gather_manifest(
        &self,
        step: u64,
        own: &RankFiles,
        ranks: &dyn Ranks,
    ) -> Result<CheckpointManifest, TrainError> {
        let mut manifest = CheckpointManifest::default();
        for (rank, written) in ranks.all_gather(own).into_iter().enumerate() {
            match written {
                Ok(written) => manifest.files.extend(written.files),
                Err(failure) => {
                    // No rank writes there any more. If the removal fails, the next start of the run removes
                    // it.
                    if ranks.is_first() {
                        let _ = fs_err::remove_dir_all(self.directory.writing_path(step));
                    }
                    return Err(self.write_error(failure, rank));
                }
            }
        }
        Ok(manifest)
    }

    /// Records a failure, or returns the error if there were too many.
    fn record_failure(&mut self, error: TrainError) -> Result<FailedCheckpoint, TrainError> {
        let step = self.newest.take().unwrap_or_default();
        self.failures += 1;
        if !self.directory.path().is_dir() {
            return Err(TrainError::CheckpointsDirectoryGone { path: self.directory.path().to_owned() });
        }
        let config = &self.schedule.config;
        match error {
            TrainError::CheckpointWrite { path, needed, source } if self.failures < config.max_failures => {
                self.retry_at = Some(step + config.retry_after());
                let reason = source.to_string();
                Ok(FailedCheckpoint { step, path, bytes: needed, reason, consecutive: self.failures })
            }
            error @ TrainError::CheckpointWrite { .. } => {
                Err(TrainError::TooManyFailures { count: self.failures, last: Box::new(error) })
            }
            error => Err(error),
        }
    }

    /// Waits for the checkpoint that is being written, and returns its result. Collective.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance).
    pub fn wait(&mut self, ranks: &dyn Ranks) -> Result<Option<WrittenCheckpoint>, TrainError> {
        let mut written = None;
        while !matches!(self.stage, WriteStage::Idle) {
            written = self.advance(ranks)?;
        }
        Ok(written)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        let lost = match std::mem::replace(&mut self.stage, WriteStage::Idle) {
            WriteStage::Idle | WriteStage::Publishing(None) => return,
            WriteStage::Writing { thread, .. } => {
                thread.join().map(|written| written.err().map(TrainError::from))
            }
            WriteStage::Publishing(Some(thread)) => thread.join().map(Result::err),
        };
        if let Ok(Some(error)) = lost {
            tracing::error!(%error, "the last checkpoint was lost");
        }
    }
}

fn background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<BackgroundTask<T>> {
    std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work)
}

/// Waits for a background task. A panic in it is a bug and is propagated.
fn join<T>(thread: BackgroundTask<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes and publishes a checkpoint on a single rank.
fn write_and_publish(
    snapshot: &CheckpointSnapshot,
    directory: &CheckpointDirectory,
    schedule: &CheckpointSchedule,
) -> Result<SavedCheckpoint, TrainError> {
    let start = Instant::now();
    let step = snapshot.state.progress.step;
    let writing = directory.writing_path(step);
    let manifest = create_empty_dir(&writing).and_then(|()| snapshot.write(&writing));
    let needed = snapshot.bytes_needed();
    let manifest = manifest.map_err(|source| discard(directory, step, needed, source))?;
    publish(step, &manifest, snapshot.state.milestone.as_deref(), directory, schedule, start)
}

fn create_empty_dir(writing: &Path) -> io::Result<()> {
    if writing.exists() {
        fs_err::remove_dir_all(writing)?;
    }
    fs_err::create_dir(writing)
}

/// Removes the partial files of a checkpoint, and returns its error.
fn discard(directory: &CheckpointDirectory, step: u64, needed: u64, source: io::Error) -> TrainError {
    // If the removal fails, the next start of the run removes it.
    let _ = fs_err::remove_dir_all(directory.writing_path(step));
    TrainError::CheckpointWrite { path: directory.checkpoint(step), needed, source }
}

/// Completes a checkpoint with its manifest, gives it its name, and removes outdated checkpoints.
///
/// Once it has its name, the checkpoint is saved, so later failures are only logged.
fn publish(
    step: u64,
    manifest: &CheckpointManifest,
    link: Option<&str>,
    directory: &CheckpointDirectory,
    schedule: &CheckpointSchedule,
    start: Instant,
) -> Result<SavedCheckpoint, TrainError> {
    let published = write_manifest(manifest, &directory.writing_path(step))
        .and_then(|bytes| directory.publish(step).map(|()| bytes));
    let bytes = published.map_err(|source| discard(directory, step, manifest.bytes(), source))?;
    let write_s = start.elapsed().as_secs_f64();
    if let Some(link) = link
        && let Err(error) = directory.link(link, step)
    {
        tracing::warn!(
            "the checkpoint of step {step} is complete, but the link `{link}` to it can't be created: {error}"
        );
    }
    let latest_written = directory.set_latest(step);
    let removed = remove_outdated(directory, schedule);
    // The removal may have freed the space that was missing.
    if let Err(error) = latest_written.or_else(|_| directory.set_latest(step)) {
        tracing::warn!("the checkpoint of step {step} is complete, but `latest` can't be written: {error}");
    }
    Ok(SavedCheckpoint { step, path: directory.checkpoint(step), bytes, write_s, blocked_s: 0.0, removed })
}

/// Removes outdated checkpoints, and returns the steps of those that were removed. Failures are only logged,
/// because the new checkpoint is complete.
fn remove_outdated(directory: &CheckpointDirectory, schedule: &CheckpointSchedule) -> Vec<u64> {
    let steps = directory.steps().unwrap_or_else(|error| {
        tracing::warn!("can't list outdated checkpoints: {error}");
        Vec::new()
    });
    let remove = |&step: &u64| match directory.remove(step) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("can't remove the checkpoint of step {step}: {error}");
            false
        }
    };
    schedule.config.outdated(&steps, &schedule.milestones).filter(remove).collect()
}
