//! The log files of a run, and TensorBoard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_files::{create_directory, sync_directory};
use fineline_layout::{RunDirectory, parse_step_name};
use fineline_probe::ProbeRecord;
use fs_err as fs;

use super::tensorboard::TensorBoard;
use crate::config::LogConfig;
use crate::error::RunError;
use crate::records::digests::DigestRecord;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::{JsonLines, UnwrittenLines};
use crate::records::metrics::MetricsRecord;

/// Writes the logs of a run.
///
/// Lines that can't be written are buffered in memory and written later.
/// [`poll_write_status`](Self::poll_write_status) returns an event when writing starts to fail, and when it
/// recovers. More buffered lines than
/// [`LogConfig::max_buffered_lines`](crate::config::LogConfig::max_buffered_lines) are an error for the
/// caller.
pub(crate) struct Logs {
    metrics: JsonLines,
    probes: JsonLines,
    events: JsonLines,
    digests: Option<JsonLines>,
    tensorboard: TensorBoardState,
    tensorboard_dir: PathBuf,
    every_steps: u64,
    /// The failure of the last attempt to write, if it failed.
    failure: Option<LogFailure>,
    /// The failure that was reported last.
    reported: Option<LogFailure>,
}

/// A log that can't be written.
#[derive(Clone, Debug, PartialEq)]
struct LogFailure {
    path: PathBuf,
    reason: String,
}

/// State of TensorBoard's files. Unlike the logs, lost values aren't written later.
enum TensorBoardState {
    Off,
    Open(TensorBoard),
    Failed,
}

/// Key under which a checkpoint carries log lines that could not be written.
pub(crate) const UNWRITTEN: &str = "unwritten_logs";

/// Lines of each log that aren't in its file, by file name.
pub(crate) type UnwrittenLogs = BTreeMap<String, UnwrittenLines>;

impl Logs {
    /// Opens empty logs for a run that starts. Logs of an earlier start without a checkpoint are dropped.
    ///
    /// # Errors
    /// Files that can't be written.
    pub(crate) fn begin(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        for log in [directory.metrics(), directory.probes(), directory.events()] {
            fs::write(log, "")?;
        }
        if directory.digests().exists() {
            fs::remove_file(directory.digests())?;
        }
        drop_rounds(directory, |_| true)?;
        Self::open(directory, step, config)
    }

    /// Opens the logs to continue after `step`. Lines of later steps are dropped.
    ///
    /// # Errors
    /// Files that can't be read or written.
    pub(crate) fn resume(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        drop_rounds(directory, |at| at > step)?;
        Self::open(directory, step, config)
    }

    /// Writes the log lines that a checkpoint carries into their files.
    ///
    /// # Errors
    /// Files that can't be read or written.
    pub(crate) fn restore(directory: &RunDirectory, unwritten: &UnwrittenLogs) -> Result<(), RunError> {
        for log in [directory.metrics(), directory.probes(), directory.events(), directory.digests()] {
            if let Some(lines) = unwritten.get(&file_name(&log)) {
                JsonLines::restore(&log, lines)?;
            }
        }
        Ok(())
    }

    fn open(directory: &RunDirectory, step: u64, config: &LogConfig) -> Result<Self, RunError> {
        // Even if digests are off now, an earlier file must not have later steps.
        let has_digests = config.digest || directory.digests().exists();
        let logs = Self {
            metrics: JsonLines::resume(&directory.metrics(), step)?,
            probes: JsonLines::resume(&directory.probes(), step)?,
            events: JsonLines::resume(&directory.events(), step)?,
            digests: has_digests.then(|| JsonLines::resume(&directory.digests(), step)).transpose()?,
            tensorboard: if config.tensorboard {
                TensorBoardState::Open(TensorBoard::resume(&directory.tensorboard(), step)?)
            } else {
                TensorBoardState::Off
            },
            tensorboard_dir: directory.tensorboard(),
            every_steps: config.every_steps,
            failure: None,
            reported: None,
        };
        // After a power cut, the logs of a checkpoint must exist under their names.
        sync_directory(directory.root())?;
        Ok(logs)
    }

    /// Logs a step, if it is due.
    pub(crate) fn step(&mut self, record: &MetricsRecord) -> Result<(), RunError> {
        if !record.step.is_multiple_of(self.every_steps) && !record.skipped {
            return Ok(());
        }
        let appended = self.metrics.append(record);
        self.record_log_failure(appended, |logs| &logs.metrics)?;
        let scalars = [
            ("train/loss", record.loss),
            ("train/lr", Some(record.lr as f32)),
            ("train/grad_norm", record.grad_norm),
            ("speed/tokens_per_s", Some(record.tokens_per_s as f32)),
            ("speed/mfu", record.mfu.map(|mfu| mfu as f32)),
        ];
        self.write_tensorboard(|board| {
            let known = scalars.iter().filter_map(|&(tag, value)| Some((tag, value?)));
            known.into_iter().try_for_each(|(tag, value)| board.scalar(tag, record.step, value))
        });
        Ok(())
    }

    /// Logs the digest of a step.
    pub(crate) fn digest(&mut self, record: &DigestRecord) -> Result<(), RunError> {
        let Some(digests) = &mut self.digests else { return Ok(()) };
        let appended = digests.append(record);
        let path = digests.path().to_owned();
        self.record_failure(appended, path)
    }

    /// Logs the results of an evaluation round.
    pub(crate) fn probes(&mut self, records: &[ProbeRecord]) -> Result<(), RunError> {
        let appended = self.probes.append_all(records);
        self.record_log_failure(appended, |logs| &logs.probes)?;
        self.write_tensorboard(|board| {
            for record in records {
                for (metric, estimate) in &record.metrics {
                    if let Some(value) = estimate.value {
                        board.scalar(
                            &format!("probes/{}/{metric}", record.task),
                            record.step,
                            value as f32,
                        )?;
                    }
                }
            }
            board.flush()
        });
        Ok(())
    }

    /// Logs an event, and returns its record.
    pub(crate) fn event(&mut self, step: u64, event: Event) -> Result<EventRecord, RunError> {
        let record = event.at(step);
        let appended = self.events.append(&record);
        self.record_log_failure(appended, |logs| &logs.events)?;
        Ok(record)
    }

    /// Waits until all lines are on disk. Returns those that can't be written.
    pub(crate) fn sync(&mut self, step: u64) -> Result<UnwrittenLogs, RunError> {
        let logs =
            [&mut self.metrics, &mut self.probes, &mut self.events].into_iter().chain(&mut self.digests);
        let synced: Vec<_> = logs.map(|log| (log.sync(), log.path().to_owned())).collect();
        self.failure = None;
        for (result, path) in synced {
            self.record_failure(result, path)?;
        }
        if matches!(self.tensorboard, TensorBoardState::Failed)
            && let Ok(board) = TensorBoard::resume(&self.tensorboard_dir, step)
        {
            self.tensorboard = TensorBoardState::Open(board);
        }
        self.write_tensorboard(TensorBoard::flush);
        let unwritten = self.logs().filter_map(|log| Some((file_name(log.path()), log.unwritten()?)));
        Ok(unwritten.collect())
    }

    /// Number of lines that are buffered in memory.
    pub(crate) fn unwritten_lines(&self) -> usize {
        self.logs().map(JsonLines::unwritten_lines).sum()
    }

    /// Returns an event if writing has started to fail or has recovered since the last call.
    pub(crate) fn poll_write_status(&mut self) -> Option<Event> {
        if self.unwritten_lines() == 0 && !matches!(self.tensorboard, TensorBoardState::Failed) {
            self.failure = None;
        }
        let event = match (&self.reported, &self.failure) {
            (None, Some(LogFailure { path, reason })) => {
                Event::LogWriteFailed { path: path.clone(), reason: reason.clone() }
            }
            (Some(LogFailure { path, .. }), None) => Event::LogWriteRecovered { path: path.clone() },
            _ => return None,
        };
        self.reported.clone_from(&self.failure);
        Some(event)
    }

    fn logs(&self) -> impl Iterator<Item = &JsonLines> {
        [&self.metrics, &self.probes, &self.events].into_iter().chain(&self.digests)
    }

    fn record_log_failure(
        &mut self,
        result: Result<(), RunError>,
        log: fn(&Self) -> &JsonLines,
    ) -> Result<(), RunError> {
        let path = log(self).path().to_owned();
        self.record_failure(result, path)
    }

    /// Keeps a failure of the file system as a status. Other errors are returned.
    fn record_failure(&mut self, result: Result<(), RunError>, path: PathBuf) -> Result<(), RunError> {
        match result {
            Err(RunError::Io(error)) => {
                self.failure = Some(LogFailure { path, reason: error.to_string() });
                Ok(())
            }
            result => result,
        }
    }

    /// Writes to TensorBoard. After a failure it is off until the next sync.
    fn write_tensorboard(&mut self, write: impl FnOnce(&mut TensorBoard) -> Result<(), RunError>) {
        let TensorBoardState::Open(board) = &mut self.tensorboard else { return };
        if let Err(error) = write(board) {
            let path = self.tensorboard_dir.clone();
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            self.failure = Some(LogFailure { path, reason });
            self.tensorboard = TensorBoardState::Failed;
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes the item and representation files of steps that will be run again.
pub(crate) fn drop_rounds(
    directory: &RunDirectory,
    is_dropped: impl Fn(u64) -> bool,
) -> Result<(), RunError> {
    create_directory(&directory.items_dir())?;
    drop_steps(&directory.items_dir(), &is_dropped)?;
    // Only runs with representation probes have this directory.
    if directory.representations_dir().is_dir() {
        drop_steps(&directory.representations_dir(), &is_dropped)?;
    }
    Ok(())
}

/// Removes the files of some steps.
fn drop_steps(dir: &Path, is_dropped: &impl Fn(u64) -> bool) -> Result<(), RunError> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let step = parse_step_name(name);
        if step.is_some_and(is_dropped) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
