//! The logs of a run, opened to go on after a step.

use std::path::Path;

use fineline_files::{create_folder, sync_folder};
use fineline_probe::ProbeRecord;
use fs_err as fs;

use crate::RunError;
use crate::config::LogConfig;
use crate::directory::RunDirectory;
use crate::events::{Event, EventRecord};
use crate::jsonl::JsonLines;
use crate::metrics::MetricsRecord;
use crate::tensorboard::TensorBoard;

/// Where a run writes what it sees.
pub(crate) struct Logs {
    metrics: JsonLines,
    probes: JsonLines,
    events: JsonLines,
    tensorboard: Option<TensorBoard>,
    every_steps: u64,
}

impl Logs {
    /// Opens empty logs for a run that begins. What a start that never came to a checkpoint has left is dropped.
    pub(crate) fn begin(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        for log in [directory.metrics(), directory.probes(), directory.events()] {
            fs::write(log, "")?;
        }
        drop_rounds(directory, |_| true)?;
        Self::open(directory, step, config)
    }

    /// Opens the logs to go on after `step`; what they say of later steps is dropped.
    pub(crate) fn resume(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        drop_rounds(directory, |at| at > step)?;
        Self::open(directory, step, config)
    }

    fn open(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        let logs = Self {
            metrics: JsonLines::resume(&directory.metrics(), step)?,
            probes: JsonLines::resume(&directory.probes(), step)?,
            events: JsonLines::resume(&directory.events(), step)?,
            tensorboard: config
                .tensorboard
                .then(|| TensorBoard::resume(&directory.tensorboard(), step))
                .transpose()?,
            every_steps: config.every_steps,
        };
        // A checkpoint that survives a power cut must not find its logs without names.
        sync_folder(directory.root())?;
        Ok(logs)
    }

    /// Logs a step, if its turn has come.
    pub(crate) fn step(&mut self, record: &MetricsRecord) -> Result<(), RunError> {
        if !record.step.is_multiple_of(self.every_steps) && !record.skipped {
            return Ok(());
        }
        self.metrics.append(record)?;
        let Some(board) = &mut self.tensorboard else { return Ok(()) };
        let scalars = [
            ("train/loss", record.loss),
            ("train/lr", Some(record.lr as f32)),
            ("train/grad_norm", record.grad_norm),
            ("speed/tokens_per_s", Some(record.tokens_per_s as f32)),
            ("speed/mfu", record.mfu.map(|mfu| mfu as f32)),
        ];
        for (tag, value) in scalars {
            if let Some(value) = value {
                board.scalar(tag, record.step, value)?;
            }
        }
        Ok(())
    }

    /// Logs a round of probes or of validation.
    pub(crate) fn probes(&mut self, records: &[ProbeRecord]) -> Result<(), RunError> {
        self.probes.append_all(records)?;
        for record in records {
            let Some(board) = &mut self.tensorboard else { continue };
            for (metric, estimate) in &record.metrics {
                if let Some(value) = estimate.value {
                    board.scalar(&format!("probes/{}/{metric}", record.task), record.step, value as f32)?;
                }
            }
        }
        Ok(())
    }

    /// Logs that something happened, and hands the record back.
    pub(crate) fn event(&mut self, step: u64, event: Event) -> Result<EventRecord, RunError> {
        let record = event.at(step);
        self.events.append(&record)?;
        Ok(record)
    }

    /// Hands TensorBoard what was recorded so far.
    pub(crate) fn show(&mut self) -> Result<(), RunError> {
        self.tensorboard.as_mut().map_or(Ok(()), TensorBoard::flush)
    }

    /// Waits until everything logged so far is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), RunError> {
        self.metrics.sync()?;
        self.probes.sync()?;
        self.events.sync()?;
        self.show()
    }
}

/// Removes the files of rounds at steps that are about to be run again: of items, and of representations.
pub(crate) fn drop_rounds(
    directory: &RunDirectory,
    is_dropped: impl Fn(u64) -> bool,
) -> Result<(), RunError> {
    create_folder(&directory.items_folder())?;
    drop_steps(&directory.items_folder(), &is_dropped)?;
    // Only runs that look at representations have this one.
    if directory.representations_folder().is_dir() {
        drop_steps(&directory.representations_folder(), &is_dropped)?;
    }
    Ok(())
}

/// Removes the files of some steps.
fn drop_steps(folder: &Path, is_dropped: &impl Fn(u64) -> bool) -> Result<(), RunError> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok());
        if step.is_some_and(is_dropped) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
