//! Background uploads.

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

/// Delay after the first failure. It doubles with each failure, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Selects the steps to remove among those that have checkpoints, which are ascending.
pub type OutdatedSteps = Box<dyn Fn(&[u64]) -> Vec<u64> + Send>;

/// Options of an [`Uploader`].
pub struct UploaderOptions {
    /// The run directory.
    pub root: PathBuf,
    /// Selects the remote checkpoints to remove after each upload of a newer one.
    pub outdated: OutdatedSteps,
}

/// A report of an [`Uploader`].
#[derive(Clone, Debug, PartialEq)]
pub enum UploadUpdate {
    /// A checkpoint was uploaded completely.
    Uploaded {
        /// Its step.
        step: u64,
        /// Its address.
        url: String,
        /// Its size in bytes.
        bytes: u64,
        /// Seconds since the upload was requested.
        seconds: f64,
        /// Steps of older checkpoints that were then removed from the store.
        removed: Vec<u64>,
    },
    /// A checkpoint was in the store already.
    AlreadyUploaded {
        /// Its step.
        step: u64,
    },
    /// An attempt failed, and will be retried.
    Failed {
        /// Description of the upload, for messages.
        what: String,
        /// Number of attempts so far.
        attempts: u32,
        /// Cause of the failure.
        reason: String,
        /// Seconds until the next attempt.
        retry_s: f64,
    },
    /// The run removed a checkpoint before its upload, and a newer one replaces it.
    Superseded {
        /// Its step.
        step: u64,
        /// Step of the newer checkpoint.
        by: u64,
    },
}

/// Uploads a run in the background, in the order of requests. Waiting uploads of checkpoints that the run has
/// removed are skipped.
///
/// Dropping the uploader abandons the current upload. An incomplete upload doesn't count as a checkpoint.
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
    /// Whether an upload is in progress.
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
            Self::Abandon { beyond } => format!("checkpoints after step {beyond}"),
        }
    }

    /// Returns whether the run has removed the checkpoint of this task.
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

    /// Waits for the next task, or returns `None` when the uploader is dropped.
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

    /// Waits before the next attempt at `task`, and returns early if it has become unnecessary.
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
    /// Starts the background thread, which uploads to `store`.
    ///
    /// # Errors
    /// Returns [`StorageError::Io`] if the thread can't be started.
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

    /// Marks remote checkpoints after `step` as abandoned, because the run was rewound.
    pub fn abandon_after(&self, step: u64) {
        self.add(UploadTask::Abandon { beyond: step });
    }

    /// Requests the upload of a complete checkpoint and of the run's files. Waiting uploads of checkpoints
    /// that the run has removed are superseded by it.
    ///
    /// # Errors
    /// Returns [`StorageError::Io`] if its files can't be opened, and [`StorageError::NoManifest`] if its
    /// manifest is invalid. The files stay open until they are uploaded, so removing them meanwhile frees no
    /// disk space.
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

    /// Requests the upload of the run's files.
    pub fn upload_files(&self) {
        self.add(UploadTask::Files);
    }

    fn add(&self, task: UploadTask) {
        self.shared.lock().waiting.push_back(task);
        self.shared.changed.notify_all();
    }

    /// Returns the reports since the last call.
    #[must_use]
    pub fn take_updates(&self) -> Vec<UploadUpdate> {
        std::mem::take(&mut self.shared.lock().updates)
    }

    /// Waits until all uploads are done, or for `time` at most. Returns whether all are done.
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

/// State of the background thread.
struct UploadWorker {
    run: RemoteRun,
    options: UploaderOptions,
    shared: Arc<UploadQueue>,
    /// Hashes of the uploaded files, by name.
    files: BTreeMap<String, blake3::Hash>,
}

impl UploadWorker {
    fn work(&mut self) {
        while let Some(mut task) = self.shared.next() {
            self.complete(&mut task);
            self.shared.done();
        }
    }

    /// Retries until the task is done or a newer checkpoint supersedes it.
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
                // Uploads the logs first: a checkpoint must not be ahead of them.
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

    /// Uploads the files that have changed since their last upload.
    fn copy_files(&mut self) -> Result<(), StorageError> {
        let root = &self.options.root;
        let store = self.run.store();
        if self.files.is_empty() {
            self.files = unchanged_since(store, root)?;
        }
        for name in run_files(root)? {
            // Files that are written once aren't read again.
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

    /// Renames the manifests of later checkpoints, so that no run resumes from them. Their files stay, since
    /// they may be the only copies of those steps.
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

    /// Removes outdated checkpoints. A failure isn't reported, since the next upload tries again.
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
                "the checkpoint of step {newest} is uploaded, but older ones can't be removed: {}",
                error.with_causes()
            );
            Vec::new()
        })
    }

    /// Removes a checkpoint, its manifest first, so that an incomplete one is never found.
    fn remove(&self, step: u64) -> Result<(), StorageError> {
        let store = self.run.store();
        let dir = remote_checkpoint_path(step);
        store.remove(&format!("{dir}/{MANIFEST_FILE}"))?;
        store.list(&dir)?.iter().try_for_each(|object| store.remove(&object.key))
    }
}

/// Finds the write-once files that the store already has, by size and modification time, so that a resumed
/// run doesn't upload all of them again.
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
