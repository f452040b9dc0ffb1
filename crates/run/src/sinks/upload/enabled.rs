//! Uploads of checkpoints and logs to remote storage while a run trains (`[storage]`).

use std::time::{Duration, Instant};

use fineline_storage::{Store, UploadUpdate, Uploader, UploaderOptions};
use fineline_train::{CheckpointDirectory, SavedCheckpoint, Trainer};

use crate::checkpoints::writer::milestones;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::records::events::Event;
use fineline_layout::RunDirectory;

/// Interval between two checks whether all uploads are complete.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Uploads the checkpoints and logs of a run in the background.
pub(crate) struct RunUploader {
    uploader: Uploader,
    url: String,
    wait: Duration,
    /// Step of the newest checkpoint in the queue.
    queued: Option<u64>,
    copied: Option<u64>,
}

impl RunUploader {
    /// Starts the uploader of a run at the step of its trainer. `None` if no remote storage is configured.
    ///
    /// # Errors
    /// Remote storage that can't be opened.
    pub(crate) fn start(
        config: &RunConfig,
        directory: &RunDirectory,
        prepared: &Prepared,
        trainer: &Trainer,
    ) -> Result<Option<Self>, RunError> {
        let Some(address) = &config.storage.remote else { return Ok(None) };
        let step = trainer.progress().step;
        let rules = config.checkpoint.clone();
        let known = milestones(config, directory, prepared, trainer)?;
        let dir = CheckpointDirectory::new(directory.checkpoints());
        // More checkpoints may become milestones during the run. If they can't be read, no remote checkpoint
        // is removed.
        let outdated = move |steps: &[u64]| {
            let Ok(mut milestones) = dir.milestones() else { return Vec::new() };
            milestones.extend(known.clone());
            rules.outdated(steps, &milestones).collect()
        };
        let store = Store::open(address)?;
        let url = store.url("");
        let options = UploaderOptions { root: directory.root().to_owned(), outdated: Box::new(outdated) };
        let uploader = Uploader::start(store, options)?;
        uploader.abandon_after(step);
        let wait = Duration::from_secs(config.storage.drain_timeout_s);
        let mut uploads = Self { uploader, url, wait, queued: None, copied: None };
        // The checkpoint that the last start didn't upload.
        let newest = CheckpointDirectory::new(directory.checkpoints()).checkpoint(step);
        if newest.is_dir() {
            uploads.uploader.upload_checkpoint(step, &newest)?;
            uploads.queued = Some(step);
        }
        Ok(Some(uploads))
    }

    /// Address of the run in remote storage.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Queues a checkpoint for upload. If it can't be queued, returns the event that says so.
    pub(crate) fn enqueue(&mut self, saved: &SavedCheckpoint) -> Option<Event> {
        self.queued = Some(saved.step);
        let error = self.uploader.upload_checkpoint(saved.step, &saved.path).err()?;
        let (what, reason) = (format!("the checkpoint of step {}", saved.step), error.with_causes());
        Some(Event::UploadFailed { what, reason, attempts: 1, retry_s: None })
    }

    /// Returns the events of uploads since the last call.
    pub(crate) fn poll_events(&mut self) -> Vec<Event> {
        let updates = self.uploader.take_updates();
        updates.into_iter().filter_map(|update| self.event(update)).collect()
    }

    fn event(&mut self, update: UploadUpdate) -> Option<Event> {
        Some(match update {
            UploadUpdate::AlreadyUploaded { step } => {
                self.copied = Some(step);
                return None;
            }
            UploadUpdate::Uploaded { step, url, bytes, seconds, removed } => {
                self.copied = Some(step);
                Event::Uploaded { checkpoint_step: step, url, bytes, seconds, removed }
            }
            UploadUpdate::Failed { what, attempts, reason, retry_s } => {
                Event::UploadFailed { what, reason, attempts, retry_s: Some(retry_s) }
            }
            UploadUpdate::Superseded { step, by } => Event::UploadSuperseded { checkpoint_step: step, by },
        })
    }

    /// Uploads the logs a last time, and waits until all uploads are complete, for at most
    /// `storage.drain_timeout_s`.
    pub(crate) fn finish(mut self, log: &mut dyn FnMut(Event)) {
        self.uploader.upload_files();
        let end = Instant::now() + self.wait;
        loop {
            let done = self
                .uploader
                .wait_until_idle(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now())));
            self.poll_events().into_iter().for_each(&mut *log);
            if done || Instant::now() >= end {
                break;
            }
        }
        if self.copied != self.queued {
            log(Event::UploadIncomplete { url: self.url.clone(), copied: self.copied });
        }
    }
}
