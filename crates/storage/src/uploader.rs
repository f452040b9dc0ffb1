//! Copies in the background.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fineline_layout::{
    ABANDONED_MANIFEST_FILE, CHECKPOINTS_DIR, LATEST_FILE, MANIFEST_FILE, UPLOADED_DIRS,
    remote_checkpoint_path, step_name,
};

use crate::checkpoint_upload::CheckpointUpload;
use crate::error::StorageError;
use crate::files::{content, run_files};
use crate::remote_run::RemoteRun;
use crate::store::Store;

/// The wait after the first failure; it doubles with each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Of the steps that have checkpoints, ascending, those that are to go.
pub type OutdatedSteps = Box<dyn Fn(&[u64]) -> Vec<u64> + Send>;

/// What a mirror has to know of its run.
pub struct UploaderOptions {
    /// The run's folder.
    pub root: PathBuf,
    /// Which of the remote checkpoints are removed once a newer one is whole.
    pub outdated: OutdatedSteps,
}

/// What became of a piece of work.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadUpdate {
    /// A checkpoint stands whole in the store.
    Uploaded {
        /// Its step.
        step: u64,
        /// Where it is.
        url: String,
        /// Its size.
        bytes: u64,
        /// Seconds since it was offered.
        seconds: f64,
        /// Steps whose checkpoints were removed from the store after it.
        removed: Vec<u64>,
    },
    /// A checkpoint that was offered stood there already.
    AlreadyUploaded {
        /// Its step.
        step: u64,
    },
    /// An attempt failed. There will be another.
    Failed {
        /// What was being copied, for people.
        what: String,
        /// Attempts at it so far.
        attempts: u32,
        /// What went wrong.
        reason: String,
        /// Seconds until the next one.
        retry_s: f64,
    },
    /// A checkpoint that the run has removed before it was copied was given up for a newer one.
    Superseded {
        /// Its step.
        step: u64,
        /// The newer one.
        by: u64,
    },
}

/// The background copy of a run. Work is taken in order; a checkpoint that waits while the run removes it is left out.
///
/// Dropping it abandons what is under way: nothing half copied counts as a checkpoint.
pub struct Uploader {
    shared: Arc<UploadQueue>,
}

struct UploadQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<UploadTask>,
    /// Whether something is under way.
    busy: bool,
    updates: Vec<UploadUpdate>,
    ended: bool,
}

enum UploadTask {
    Checkpoint(Box<CheckpointUpload>, Instant),
    Files,
    Abandon { beyond: u64 },
}

impl UploadTask {
    fn what(&self) -> String {
        match self {
            Self::Checkpoint(upload, _) => format!("the checkpoint of step {}", upload.step),
            Self::Files => "the logs".to_owned(),
            Self::Abandon { beyond } => format!("what there is beyond step {beyond}"),
        }
    }

    /// Whether it is of a checkpoint that the run has no more.
    fn is_outdated(&self) -> bool {
        matches!(self, Self::Checkpoint(upload, _) if !upload.is_kept())
    }

    fn checkpoint(&self) -> Option<u64> {
        match self {
            Self::Checkpoint(upload, _) => Some(upload.step),
            _ => None,
        }
    }
}

impl UploadQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, update: UploadUpdate) {
        self.lock().updates.push(update);
    }

    /// The next piece of work; none at the end.
    fn next(&self) -> Option<UploadTask> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(task) = state.waiting.pop_front() {
                state.busy = true;
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.lock().busy = false;
        self.changed.notify_all();
    }

    /// Waits before another attempt at `task`, and says what has come in between that makes it needless.
    fn wait_to_retry(&self, task: &UploadTask, wait: Duration) -> RetryWait {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            if state.ended {
                return RetryWait::Ended;
            }
            let newer = state.waiting.iter().rev().find_map(UploadTask::checkpoint);
            if let Some(newer) = newer.filter(|_| task.is_outdated()) {
                return RetryWait::Superseded(newer);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return RetryWait::Over;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

enum RetryWait {
    Over,
    Superseded(u64),
    Ended,
}

impl Uploader {
    /// Begins to copy into `store`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(store: Store, options: UploaderOptions) -> Result<Self, StorageError> {
        let shared = Arc::new(UploadQueue { state: Mutex::default(), changed: Condvar::new() });
        let mut worker = UploadWorker {
            run: RemoteRun::new(store),
            options,
            shared: Arc::clone(&shared),
            files: BTreeMap::new(),
        };
        std::thread::Builder::new().name("uploader".to_owned()).spawn(move || worker.work())?;
        Ok(Self { shared })
    }

    /// Sets remote checkpoints beyond a step aside: the run has gone back behind them.
    pub fn abandon_after(&self, step: u64) {
        self.add(UploadTask::Abandon { beyond: step });
    }

    /// Has a whole checkpoint and the run's files copied. Those that wait still, and that the run has removed meanwhile, are given up for it.
    ///
    /// # Errors
    /// If its files can't be opened. They are held open until they are copied: removing them in the meantime makes no room.
    pub fn upload_checkpoint(&self, step: u64, checkpoint: &Path) -> Result<(), StorageError> {
        let upload = Box::new(CheckpointUpload::open(step, checkpoint)?);
        let mut state = self.shared.lock();
        let outdated =
            state.waiting.iter().filter(|task| task.is_outdated()).filter_map(UploadTask::checkpoint);
        let superseded: Vec<UploadUpdate> =
            outdated.map(|older| UploadUpdate::Superseded { step: older, by: step }).collect();
        state.updates.extend(superseded);
        state.waiting.retain(|task| !task.is_outdated());
        drop(state);
        self.add(UploadTask::Checkpoint(upload, Instant::now()));
        Ok(())
    }

    /// Has the run's files copied.
    pub fn upload_files(&self) {
        self.add(UploadTask::Files);
    }

    fn add(&self, task: UploadTask) {
        self.shared.lock().waiting.push_back(task);
        self.shared.changed.notify_all();
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_updates(&self) -> Vec<UploadUpdate> {
        std::mem::take(&mut self.shared.lock().updates)
    }

    /// Waits until nothing is left to do or something has happened, for `time` at most, and says whether all is done.
    #[must_use]
    pub fn wait_until_idle(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut state = self.shared.lock();
        loop {
            let idle = !state.busy && state.waiting.is_empty();
            let left = end.saturating_duration_since(Instant::now());
            if idle || left.is_zero() {
                return idle;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

/// What the background thread has.
struct UploadWorker {
    run: RemoteRun,
    options: UploaderOptions,
    shared: Arc<UploadQueue>,
    /// Hashes of the run's files that are there, by name.
    files: BTreeMap<String, blake3::Hash>,
}

impl UploadWorker {
    fn work(&mut self) {
        while let Some(mut task) = self.shared.next() {
            self.complete(&mut task);
            self.shared.done();
        }
    }

    /// Tries until it is done, or a newer checkpoint takes its place.
    fn complete(&mut self, task: &mut UploadTask) {
        let mut wait = FIRST_WAIT;
        for attempts in 1.. {
            let error = match self.attempt(task) {
                Ok(()) => return,
                Err(error) => error,
            };
            let (reason, retry_s) = (error.with_causes(), wait.as_secs_f64());
            self.shared.report(UploadUpdate::Failed { what: task.what(), attempts, reason, retry_s });
            match self.shared.wait_to_retry(task, wait) {
                RetryWait::Over => {}
                RetryWait::Ended => return,
                RetryWait::Superseded(by) => {
                    if let Some(step) = task.checkpoint() {
                        self.shared.report(UploadUpdate::Superseded { step, by });
                    }
                    return;
                }
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn attempt(&mut self, task: &mut UploadTask) -> Result<(), StorageError> {
        match task {
            UploadTask::Files => self.copy_files(),
            UploadTask::Abandon { beyond } => self.abandon(*beyond),
            UploadTask::Checkpoint(upload, offered) => {
                // The logs first: a checkpoint must not be ahead of them.
                self.copy_files()?;
                if upload.is_uploaded(self.run.store())? {
                    self.shared.report(UploadUpdate::AlreadyUploaded { step: upload.step });
                    return Ok(());
                }
                upload.send(self.run.store())?;
                let removed = self.remove_outdated(upload.step);
                self.shared.report(UploadUpdate::Uploaded {
                    step: upload.step,
                    url: self.run.store().url(&remote_checkpoint_path(upload.step)),
                    bytes: upload.bytes(),
                    seconds: offered.elapsed().as_secs_f64(),
                    removed,
                });
                Ok(())
            }
        }
    }

    /// Copies the files that have changed since they were last copied.
    fn copy_files(&mut self) -> Result<(), StorageError> {
        let root = &self.options.root;
        let store = self.run.store();
        if self.files.is_empty() {
            self.files = unchanged_since(store, root)?;
        }
        for name in run_files(root)? {
            // What is written once isn't read again.
            if name.contains('/') && self.files.contains_key(&name) {
                continue;
            }
            let mut bytes = content(&root.join(&name))?;
            let hash = blake3::hash(&bytes);
            if self.files.get(&name) != Some(&hash) {
                store.put(&name, &mut bytes, hash.to_hex().as_str())?;
                self.files.insert(name, hash);
            }
        }
        Ok(())
    }

    /// Takes the manifests of later checkpoints away, so that nobody goes on from them. Their files stay: they may be all that is left of those steps.
    fn abandon(&self, beyond: u64) -> Result<(), StorageError> {
        let store = self.run.store();
        for step in self.run.steps()?.into_iter().filter(|&step| step > beyond).rev() {
            let dir = remote_checkpoint_path(step);
            if let Some(manifest) = store.get(&format!("{dir}/{MANIFEST_FILE}"))? {
                let hash = blake3::hash(&manifest).to_hex();
                store.put(
                    &format!("{dir}/{ABANDONED_MANIFEST_FILE}"),
                    &mut bytes::Bytes::from(manifest),
                    hash.as_str(),
                )?;
                store.remove(&format!("{dir}/{MANIFEST_FILE}"))?;
            }
        }
        Ok(())
    }

    /// Removes the checkpoints that are not to be kept. That one can't be removed is no failure: the next one's turn brings another.
    fn remove_outdated(&self, newest: u64) -> Vec<u64> {
        let latest = format!("{}\n", step_name(newest)).into_bytes();
        let named = self.run.store().put(
            &format!("{CHECKPOINTS_DIR}/{LATEST_FILE}"),
            &mut bytes::Bytes::from(latest.clone()),
            blake3::hash(&latest).to_hex().as_str(),
        );
        let removed = named.and_then(|()| self.run.steps()).map(|steps| {
            let outdated = (self.options.outdated)(&steps);
            outdated.into_iter().filter(|&step| step != newest && self.remove(step).is_ok()).collect()
        });
        removed.unwrap_or_else(|error| {
            tracing::warn!(
                "the copy of step {newest} is whole, but older ones aren't cleared away: {}",
                error.with_causes()
            );
            Vec::new()
        })
    }

    /// Removes a checkpoint: its manifest first, so that no half of it is ever found.
    fn remove(&self, step: u64) -> Result<(), StorageError> {
        let store = self.run.store();
        let dir = remote_checkpoint_path(step);
        store.remove(&format!("{dir}/{MANIFEST_FILE}"))?;
        store.list(&dir)?.iter().try_for_each(|object| store.remove(&object.key))
    }
}

/// The files written once that stand in the store as they are here, by size and time: a run that goes on doesn't send them all again.
fn unchanged_since(store: &Store, root: &Path) -> Result<BTreeMap<String, blake3::Hash>, StorageError> {
    let mut unchanged = BTreeMap::new();
    for dir in UPLOADED_DIRS {
        for object in store.list(dir)? {
            let Ok(here) = fs_err::metadata(root.join(&object.key)) else { continue };
            if here.len() == object.bytes && here.modified().is_ok_and(|modified| modified < object.modified)
            {
                unchanged.insert(object.key, blake3::hash(b""));
            }
        }
    }
    Ok(unchanged)
}
