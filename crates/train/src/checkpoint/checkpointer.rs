//! Checkpoints written in the background.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use fineline_ranks::Ranks;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::config::{CheckpointConfig, CheckpointMilestones};
use crate::checkpoint::directory::CheckpointDirectory;
use crate::checkpoint::identity::CheckpointIdentity;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::snapshot::{CheckpointShard, CheckpointSnapshot, own_optimizer_state, own_weights};
use crate::checkpoint::state::CheckpointState;
use crate::distributed::Division;
use crate::error::TrainError;
use crate::step::Trainer;

/// Writes the checkpoints of a run: one at a time, in the background.
///
/// An error of the background comes back from the next call here; a few in a row are survived ([`WrittenCheckpoint::Failed`]). Dropping it waits for the write under way.
pub struct Checkpointer {
    folder: CheckpointDirectory,
    cadence: Arc<CheckpointSchedule>,
    identity: Arc<CheckpointIdentity>,
    /// The step that the newest checkpoint is of, written or being written.
    newest: Option<u64>,
    stage: WriteStage,
    /// When that began.
    began: Instant,
    /// Seconds that training stood still for it.
    blocked_s: f64,
    /// Checkpoints in a row that could not be written.
    failures: u32,
    /// The step from which on the last of these is made up for.
    retry_at: Option<u64>,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenCheckpoint {
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
    pub consecutive: u32,
}

/// How far the checkpoint has come that is being written.
enum WriteStage {
    /// There is none.
    Idle,
    /// Each rank writes its files.
    Writing { step: u64, needed: u64, thread: BackgroundTask<io::Result<Manifest>> },
    /// All have written theirs, and rank 0 gives the checkpoint its name. The others have nothing to do. One process alone does both at once.
    Publishing(Option<BackgroundTask<Result<SavedCheckpoint, TrainError>>>),
}

type BackgroundTask<T> = JoinHandle<T>;

/// What a rank says of the files that it was to write.
type OwnFiles = Result<Manifest, WriteFailure>;

/// An error of the system, as ranks tell each other.
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

/// When checkpoints are taken, and which are kept.
#[derive(Clone, Debug, Default)]
pub struct CheckpointSchedule {
    /// In regular steps.
    pub config: CheckpointConfig,
    /// Besides.
    pub milestones: CheckpointMilestones,
}

impl From<CheckpointConfig> for CheckpointSchedule {
    fn from(config: CheckpointConfig) -> Self {
        Self { config, milestones: CheckpointMilestones::new() }
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
    /// Seconds that training stood still for it: until the one before it was written, logs were on the disk, and the snapshot taken.
    pub blocked_s: f64,
    /// Steps of which the checkpoint was removed after it, by `keep_last` and `keep_every`.
    pub removed: Vec<u64>,
}

impl Checkpointer {
    /// For a run that stands at `step`: 0, or that of the checkpoint it resumes from.
    ///
    /// On several ranks all open it, rank 0 before the others. It creates the folder if need be, removes the remains of interrupted writes, and sets aside checkpoints beyond `step`
    /// as `abandoned-...`: damaged ones, and those of a future that the run has gone back behind.
    pub fn open(
        folder: CheckpointDirectory,
        cadence: impl Into<CheckpointSchedule>,
        identity: CheckpointIdentity,
        step: u64,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        let cadence: CheckpointSchedule = cadence.into();
        cadence.config.validate()?;
        if ranks.is_first() {
            folder.prepare(step)?;
        }
        ranks.barrier();
        let steps = folder.steps()?;
        for (&step, link) in
            cadence.milestones.iter().filter(|(step, _)| steps.contains(step) && ranks.is_first())
        {
            folder.link(link, step)?;
        }
        let newest = steps.last().copied();
        Ok(Self {
            folder,
            cadence: Arc::new(cadence),
            identity: Arc::new(identity),
            newest,
            stage: WriteStage::Idle,
            began: Instant::now(),
            blocked_s: 0.0,
            failures: 0,
            retry_at: None,
        })
    }

    /// Whether the cadence has a checkpoint after this step.
    #[must_use]
    pub fn is_due(&self, step: u64) -> bool {
        let CheckpointSchedule { config, milestones } = &*self.cadence;
        let is_regular = step.is_multiple_of(config.every_steps) || milestones.contains_key(&step);
        let makes_up = self.retry_at.is_some_and(|retry_at| step >= retry_at);
        step > 0 && (is_regular || makes_up)
    }

    /// The step of the checkpoint that is being written, and for how many seconds it has been.
    #[must_use]
    pub fn under_way(&self) -> Option<(u64, f64)> {
        let is_writing = !matches!(self.stage, WriteStage::Idle) && !self.is_ready();
        self.newest.filter(|_| is_writing).map(|step| (step, self.began.elapsed().as_secs_f64()))
    }

    /// Takes note of how long training stood still for the checkpoint that is being written.
    pub(crate) fn blocked(&mut self, seconds: f64) {
        self.blocked_s = seconds;
    }

    /// Whether the newest checkpoint, be it still being written, is of this step.
    #[must_use]
    pub fn has(&self, step: u64) -> bool {
        self.newest == Some(step)
    }

    /// Changes which steps are milestones: rows that are left out bring them forward.
    pub(crate) fn change_milestones(&mut self, change: impl FnOnce(&mut CheckpointMilestones)) {
        change(&mut Arc::make_mut(&mut self.cadence).milestones);
    }

    /// Takes a snapshot of the trainer and begins to write it. If the last one is still being written, waits for it;
    /// call [`wait`](Self::wait) before to learn what became of that. All ranks take theirs together; what observers wanted kept is
    /// asked of rank 0.
    ///
    /// The snapshot shares memory with the live tensors until the next update.
    pub fn save(
        &mut self,
        trainer: &Trainer,
        observers: BTreeMap<String, Value>,
        ranks: &dyn Ranks,
    ) -> Result<(), TrainError> {
        self.wait(ranks)?;
        let snapshot = self.snapshot(trainer, observers, ranks);
        let step = snapshot.state.progress.step;
        let (folder, cadence) = (self.folder.clone(), Arc::clone(&self.cadence));
        self.stage = if ranks.size() == 1 {
            WriteStage::Publishing(Some(background(move || write_and_publish(&snapshot, &folder, &cadence))?))
        } else {
            let writing = folder.writing(step);
            let needed = snapshot.bytes_needed();
            let made = if ranks.is_first() { make_anew(&writing) } else { Ok(()) };
            ranks.barrier();
            WriteStage::Writing {
                step,
                needed,
                thread: background(move || made.and_then(|()| snapshot.write(&writing)))?,
            }
        };
        (self.newest, self.began, self.retry_at) = (Some(step), Instant::now(), None);
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
            progress: trainer.progress(),
            updates: optimizer.updates,
            milestone: self.cadence.milestones.get(&trainer.progress().step).cloned(),
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
            divided: trainer.division().is_some_and(Division::shards_optimizer_state),
        });
        CheckpointSnapshot {
            config: model.config().clone(),
            weights: own_weights(&model, shard.as_ref()),
            moments: own_optimizer_state(model.config(), &optimizer.moments, shard.as_ref()),
            state,
            identity: Arc::clone(&self.identity),
            shard,
        }
    }

    /// Whether this rank has nothing to do for the checkpoint that is being written but to go on to what comes next.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.stage {
            WriteStage::Idle | WriteStage::Publishing(None) => true,
            WriteStage::Writing { thread, .. } => thread.is_finished(),
            WriteStage::Publishing(Some(thread)) => thread.is_finished(),
        }
    }

    /// Goes on to what comes next, and says what became of the checkpoint, if it has come to its end. All ranks do so together, and hear the
    /// same of a failure; of success only rank 0 is told. Those that aren't [ready](Self::is_ready) are waited for.
    ///
    /// # Errors
    /// [`TrainError::TooManyFailures`] for the last failure that `checkpoint.max_failures` allows; [`TrainError::CheckpointsDirectoryGone`].
    pub fn advance(&mut self, ranks: &dyn Ranks) -> Result<Option<WrittenCheckpoint>, TrainError> {
        match std::mem::replace(&mut self.stage, WriteStage::Idle) {
            WriteStage::Idle => Ok(None),
            WriteStage::Writing { step, needed, thread } => {
                let own = join(thread).map_err(|error| WriteFailure::new(needed, &error));
                let manifest = match self.all_written(step, &own, ranks) {
                    Ok(manifest) => manifest,
                    Err(error) => {
                        return self.survive(error).map(|failed| Some(WrittenCheckpoint::Failed(failed)));
                    }
                };
                let (folder, cadence) = (self.folder.clone(), Arc::clone(&self.cadence));
                let link = self.cadence.milestones.get(&step).cloned();
                let began = self.began;
                let publish = move || publish(step, &manifest, link.as_deref(), &folder, &cadence, began);
                self.stage =
                    WriteStage::Publishing(if ranks.is_first() { Some(background(publish)?) } else { None });
                Ok(None)
            }
            WriteStage::Publishing(thread) => {
                let saved = self.published(thread.map(join), ranks);
                match saved {
                    Ok(saved) => {
                        self.failures = 0;
                        let blocked_s = self.blocked_s;
                        Ok(saved
                            .map(|saved| WrittenCheckpoint::Saved(SavedCheckpoint { blocked_s, ..saved })))
                    }
                    Err(error) => self.survive(error).map(|failed| Some(WrittenCheckpoint::Failed(failed))),
                }
            }
        }
    }

    /// What rank 0 has come to, as all ranks hear of it.
    fn published(
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
        let path = self.folder.checkpoint(self.newest.unwrap_or_default());
        TrainError::CheckpointWrite { path, needed: failure.needed, source: failure.into_error(rank) }
    }

    /// The manifest of all ranks' files; the first failure, if there was one.
    fn all_written(&self, step: u64, own: &OwnFiles, ranks: &dyn Ranks) -> Result<Manifest, TrainError> {
        let mut manifest = Manifest::default();
        for (rank, written) in ranks.all_gather(own).into_iter().enumerate() {
            match written {
                Ok(written) => manifest.files.extend(written.files),
                Err(failure) => {
                    // Nobody writes there any more. If it stays, the next start of the run removes it.
                    if ranks.is_first() {
                        let _ = fs_err::remove_dir_all(self.folder.writing(step));
                    }
                    return Err(self.write_error(failure, rank));
                }
            }
        }
        Ok(manifest)
    }

    /// Takes note of a failure, if the run can live with it.
    fn survive(&mut self, error: TrainError) -> Result<FailedCheckpoint, TrainError> {
        let step = self.newest.take().unwrap_or_default();
        self.failures += 1;
        if !self.folder.path().is_dir() {
            return Err(TrainError::CheckpointsDirectoryGone { path: self.folder.path().to_owned() });
        }
        let config = &self.cadence.config;
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

    /// Waits for the checkpoint being written, and says what became of it.
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

/// A panic in the background is a bug, and is shown as what it is.
fn join<T>(thread: BackgroundTask<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What one process does alone.
fn write_and_publish(
    snapshot: &CheckpointSnapshot,
    folder: &CheckpointDirectory,
    cadence: &CheckpointSchedule,
) -> Result<SavedCheckpoint, TrainError> {
    let start = Instant::now();
    let step = snapshot.state.progress.step;
    let writing = folder.writing(step);
    let manifest = make_anew(&writing).and_then(|()| snapshot.write(&writing));
    let needed = snapshot.bytes_needed();
    let manifest = manifest.map_err(|source| failed(folder, step, needed, source))?;
    publish(step, &manifest, snapshot.state.milestone.as_deref(), folder, cadence, start)
}

fn make_anew(writing: &Path) -> io::Result<()> {
    if writing.exists() {
        fs_err::remove_dir_all(writing)?;
    }
    fs_err::create_dir(writing)
}

/// Takes away what was written of a checkpoint that couldn't be.
fn failed(folder: &CheckpointDirectory, step: u64, needed: u64, source: io::Error) -> TrainError {
    // Best effort: if it stays, the next start of the run removes it.
    let _ = fs_err::remove_dir_all(folder.writing(step));
    TrainError::CheckpointWrite { path: folder.checkpoint(step), needed, source }
}

/// Makes written files a checkpoint, gives it its name, and removes those that retention lets go.
///
/// With its name it is saved. Nothing that goes wrong after that may say otherwise.
fn publish(
    step: u64,
    manifest: &Manifest,
    link: Option<&str>,
    folder: &CheckpointDirectory,
    cadence: &CheckpointSchedule,
    start: Instant,
) -> Result<SavedCheckpoint, TrainError> {
    let whole = manifest.write(&folder.writing(step)).and_then(|bytes| folder.publish(step).map(|()| bytes));
    let bytes = whole.map_err(|source| failed(folder, step, manifest.bytes(), source))?;
    let write_s = start.elapsed().as_secs_f64();
    if let Some(link) = link
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
    Ok(SavedCheckpoint { step, path: folder.checkpoint(step), bytes, write_s, blocked_s: 0.0, removed })
}

/// Removes the checkpoints that are not to be kept, and gives the steps of those that are gone. That one can't be removed
/// is no reason to stop: the new one is whole.
fn remove_outdated(folder: &CheckpointDirectory, cadence: &CheckpointSchedule) -> Vec<u64> {
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
