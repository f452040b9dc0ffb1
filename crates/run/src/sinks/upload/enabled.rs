//! A run's copy elsewhere, kept up while it trains (`[storage]`).

use std::time::{Duration, Instant};

use fineline_storage::{Store, UploadUpdate, Uploader, UploaderOptions};
use fineline_train::{CheckpointDirectory, SavedCheckpoint, Trainer};

use crate::checkpoints::writer::milestones;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::records::events::Event;
use fineline_layout::RunDirectory;

/// How often the end of a run looks whether all is copied.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps the copy of a run up.
pub(crate) struct RunUploader {
    mirror: Uploader,
    url: String,
    wait: Duration,
    /// The newest checkpoint that was to be copied.
    offered: Option<u64>,
    copied: Option<u64>,
}

impl RunUploader {
    /// For a run that stands where its trainer does; none if it has no copy.
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
        let folder = CheckpointDirectory::new(directory.checkpoints());
        // More may be kept for good while the run goes on. While that can't be looked up, nothing is removed.
        let outdated = move |steps: &[u64]| {
            let Ok(mut milestones) = folder.milestones() else { return Vec::new() };
            milestones.extend(known.clone());
            rules.outdated(steps, &milestones).collect()
        };
        let store = Store::open(address)?;
        let url = store.url("");
        let options = UploaderOptions { root: directory.root().to_owned(), outdated: Box::new(outdated) };
        let mirror = Uploader::start(store, options)?;
        mirror.abandon_after(step);
        let wait = Duration::from_secs(config.storage.drain_timeout_s);
        let mut mirroring = Self { mirror, url, wait, offered: None, copied: None };
        // What the last start didn't come to copy.
        let newest = CheckpointDirectory::new(directory.checkpoints()).checkpoint(step);
        if newest.is_dir() {
            mirroring.mirror.upload_checkpoint(step, &newest)?;
            mirroring.offered = Some(step);
        }
        Ok(Some(mirroring))
    }

    /// Where the copy is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Has a checkpoint copied, and says what went wrong with that at once.
    pub(crate) fn enqueue(&mut self, saved: &SavedCheckpoint) -> Option<Event> {
        self.offered = Some(saved.step);
        let error = self.mirror.upload_checkpoint(saved.step, &saved.path).err()?;
        let (what, reason) = (format!("the checkpoint of step {}", saved.step), error.with_causes());
        Some(Event::UploadFailed { what, reason, attempts: 1, retry_s: None })
    }

    /// What has happened since the last call.
    pub(crate) fn poll_events(&mut self) -> Vec<Event> {
        let news = self.mirror.take_updates();
        news.into_iter().filter_map(|news| self.event(news)).collect()
    }

    fn event(&mut self, news: UploadUpdate) -> Option<Event> {
        Some(match news {
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

    /// Copies the logs a last time, and waits until all is copied, within the time that `storage.drain_timeout_s` gives.
    pub(crate) fn finish(mut self, tell: &mut dyn FnMut(Event)) {
        self.mirror.upload_files();
        let end = Instant::now() + self.wait;
        loop {
            let done = self.mirror.wait_until_idle(LOOK.min(end.saturating_duration_since(Instant::now())));
            self.poll_events().into_iter().for_each(&mut *tell);
            if done || Instant::now() >= end {
                break;
            }
        }
        if self.copied != self.offered {
            tell(Event::UploadIncomplete { url: self.url.clone(), copied: self.copied });
        }
    }
}
