//! The sinks of a run, and the records that go to several of them.

use fineline_layout::RunDirectory;
use fineline_model::Llama;
use fineline_probe::ProbeRecord;
use fineline_train::{SavedCheckpoint, TrainerControl};
use serde_json::Value;

use crate::config::LogConfig;
use crate::error::RunError;
use crate::progress::RunProgress;
use crate::records::events::Event;
use crate::records::lock::DirectoryId;
use crate::records::metrics::MetricsRecord;
use crate::sinks::digests::DigestChain;
use crate::sinks::logs::{Logs, UNWRITTEN};
use crate::sinks::prometheus::PrometheusServer;
use crate::sinks::upload::RunUploader;

/// Writes each record of a run to the log files, TensorBoard, Prometheus and the caller's progress display,
/// and uploads checkpoints.
pub(super) struct RunSinks<'a> {
    directory: &'a RunDirectory,
    config: &'a LogConfig,
    /// Identity of the directory when the run started.
    directory_id: Option<DirectoryId>,
    logs: Logs,
    digests: Option<DigestChain>,
    uploader: Option<RunUploader>,
    prometheus: Option<&'a PrometheusServer>,
    progress: &'a mut dyn FnMut(RunProgress<'_>),
}

impl<'a> RunSinks<'a> {
    /// The sinks of the run in `directory`, whose logs are open.
    pub(super) fn new(
        directory: &'a RunDirectory,
        config: &'a LogConfig,
        logs: Logs,
        uploader: Option<RunUploader>,
        prometheus: Option<&'a PrometheusServer>,
        progress: &'a mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Self, RunError> {
        let digests = config.digest.then(|| DigestChain::resume(directory)).transpose()?;
        let directory_id = DirectoryId::of(directory.root());
        Ok(Self { directory, config, directory_id, logs, digests, uploader, prometheus, progress })
    }

    /// Records an event.
    pub(super) fn event(&mut self, step: u64, event: Event) -> Result<(), RunError> {
        let record = self.logs.event(step, event)?;
        if let Some(prometheus) = self.prometheus {
            prometheus.event(&record);
        }
        (self.progress)(RunProgress::Event(&record));
        Ok(())
    }

    /// Records a step, with the digest of the model's parameters if that is configured.
    pub(super) fn step(&mut self, mut record: MetricsRecord, model: &Llama) -> Result<(), RunError> {
        if let Some(digests) = &mut self.digests {
            let digest = digests.next(record.step, model);
            self.logs.digest(&digest)?;
            record.digest = Some(digest.chain);
        }
        self.logs.step(&record)?;
        if let Some(prometheus) = self.prometheus {
            prometheus.step(&record);
        }
        (self.progress)(RunProgress::Step(&record));
        Ok(())
    }

    /// Records the results of an evaluation round.
    pub(super) fn evaluation(&mut self, records: &[ProbeRecord]) -> Result<(), RunError> {
        self.logs.probes(records)?;
        if let Some(prometheus) = self.prometheus {
            prometheus.probes(records);
        }
        (self.progress)(RunProgress::Evaluated(records));
        Ok(())
    }

    /// Reports that the evaluation of a suite starts.
    pub(super) fn suite_started(&mut self, suite: &str, step: u64) {
        (self.progress)(RunProgress::Evaluating { suite, step });
    }

    /// Queues a checkpoint for upload. If it can't be queued, returns the event that says so.
    pub(super) fn upload(&mut self, saved: &SavedCheckpoint) -> Option<Event> {
        self.uploader.as_mut().and_then(|uploader| uploader.enqueue(saved))
    }

    /// Records the progress of uploads since the last call.
    pub(super) fn record_uploads(&mut self, step: u64) -> Result<(), RunError> {
        let events = self.uploader.as_mut().map(RunUploader::poll_events).unwrap_or_default();
        events.into_iter().try_for_each(|event| self.event(step, event))
    }

    /// Checks that the logs can be written, and records when that changes. Stops training if too many lines
    /// are buffered.
    ///
    /// # Errors
    /// [`RunError::DirectoryGone`] if the directory was removed or replaced.
    pub(super) fn check_logs(&mut self, step: u64) -> Result<TrainerControl, RunError> {
        if DirectoryId::of(self.directory.root()) != self.directory_id {
            return Err(RunError::DirectoryGone { dir: self.directory.root().to_owned() });
        }
        if let Some(event) = self.logs.poll_write_status() {
            self.event(step, event)?;
        }
        let stop = self.logs.unwritten_lines() > self.config.max_buffered_lines;
        Ok(if stop { TrainerControl::Stop } else { TrainerControl::Continue })
    }

    /// Syncs the logs to disk. Returns the lines that could not be written, for the checkpoint to carry, with
    /// their key.
    pub(super) fn sync(&mut self, step: u64) -> Result<Option<(String, Value)>, RunError> {
        let unwritten = self.logs.sync(step)?;
        if unwritten.is_empty() {
            return Ok(None);
        }
        let lines = serde_json::to_value(unwritten)
            .map_err(|source| RunError::Json { path: self.directory.root().to_owned(), source })?;
        Ok(Some((UNWRITTEN.to_owned(), lines)))
    }

    /// Syncs the logs to disk.
    ///
    /// # Errors
    /// [`RunError::LogsUnwritable`] if lines can't be written.
    pub(super) fn sync_all(&mut self, step: u64) -> Result<(), RunError> {
        self.logs.sync(step)?;
        match self.logs.unwritten_lines() {
            0 => Ok(()),
            lines => {
                let (dir, limit) = (self.directory.root().to_owned(), self.config.max_buffered_lines);
                Err(RunError::LogsUnwritable { dir, lines, limit })
            }
        }
    }

    /// Waits for the uploads, records their outcome, and syncs the logs.
    ///
    /// # Errors
    /// As of [`sync_all`](Self::sync_all).
    pub(super) fn close(mut self, step: u64) -> Result<(), RunError> {
        if let Some(uploader) = self.uploader.take() {
            (self.progress)(RunProgress::Preparing(&format!("uploading to {}", uploader.url())));
            let mut logged = Ok(());
            uploader.finish(&mut |event| logged = self.event(step, event));
            logged?;
        }
        self.sync_all(step)
    }
}
