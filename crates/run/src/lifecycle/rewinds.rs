//! Rewinds: the checkpoint to go back to, how often, and the rows to skip from then on.
//!
//! A rewind is logged in `events.jsonl` at the step of its checkpoint. There it outlives the steps that are
//! undone, and is dropped with those that a user undoes.

use std::path::PathBuf;

use fineline_train::{CheckpointDirectory, CheckpointState, Rewind, RewindReason};
pub use fineline_train::{RowRange, RowSchedule, SkippedRows};

use crate::error::RunError;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::read_lines;
use fineline_layout::RunDirectory;

/// A rewind that is ready to be logged.
pub(crate) struct PreparedRewind {
    /// Step of the checkpoint that the run goes back to.
    pub(crate) step: u64,
    /// Event to log at that step before training continues.
    pub(crate) event: Event,
}

impl PreparedRewind {
    /// Finds the checkpoint to go back to, and renames those after it. `trigger` is the name of the trigger
    /// that requested the rewind, if one did.
    ///
    /// # Errors
    /// [`RunError::TooManyRewinds`] if the run has gone back to this checkpoint `max_rewinds` times.
    /// [`RunError::NoCompleteCheckpoint`] or [`RunError::CheckpointsGone`] if there is no complete
    /// checkpoint.
    pub(crate) fn prepare(
        directory: &RunDirectory,
        rewind: &Rewind,
        trigger: Option<String>,
        max_rewinds: u32,
    ) -> Result<Self, RunError> {
        let dir = CheckpointDirectory::new(directory.checkpoints());
        let mut found = dir.newest_complete_until(rewind.target_step)?;
        let Some(checkpoint) = found.newest_complete else {
            return Err(match found.damaged.pop() {
                Some(source) => {
                    RunError::NoCompleteCheckpoint { dir: directory.checkpoints(), source: Box::new(source) }
                }
                None => RunError::CheckpointsGone { dir: directory.root().to_owned() },
            });
        };
        let step = CheckpointState::read(&checkpoint)?.progress.step;
        let reason = reason(rewind, trigger.as_deref());
        let count = past_rewinds(directory)?.iter().filter(|past| past.step == step).count() as u32;
        if count >= max_rewinds {
            return Err(RunError::TooManyRewinds { checkpoint, count, from: rewind.from_step, reason });
        }
        dir.prepare(step)?;
        let RowRange { start, end } = rewind.skipped_rows;
        let alarm = match rewind.reason {
            RewindReason::Guard(alarm) => Some(alarm),
            RewindReason::Observer => None,
        };
        let event = Event::Rewound {
            from: rewind.from_step,
            checkpoint,
            skipped_rows: RowRange { start, end },
            count: count + 1,
            reason,
            alarm,
            trigger,
        };
        Ok(Self { step, event })
    }
}

fn reason(rewind: &Rewind, trigger: Option<&str>) -> String {
    match (&rewind.reason, trigger) {
        (RewindReason::Guard(alarm), _) => alarm.to_string(),
        (RewindReason::Observer, Some(trigger)) => format!("trigger `{trigger}`"),
        (RewindReason::Observer, None) => "requested by an observer".to_owned(),
    }
}

/// A rewind in the log.
struct PastRewind {
    /// Step of its checkpoint.
    step: u64,
    skipped_rows: RowRange,
}

fn past_rewinds(directory: &RunDirectory) -> Result<Vec<PastRewind>, RunError> {
    let events: Vec<EventRecord> = read_lines(&directory.events())?;
    let past = |record: EventRecord| match record.event {
        Event::Rewound { skipped_rows, .. } => Some(PastRewind { step: record.step, skipped_rows }),
        _ => None,
    };
    Ok(events.into_iter().filter_map(past).collect())
}

/// Returns the rows that rewinds to the checkpoint of `step` skip. Rows of earlier rewinds are in the
/// checkpoint.
pub(crate) fn rows_skipped_at(directory: &RunDirectory, step: u64) -> Result<Vec<RowRange>, RunError> {
    let past = past_rewinds(directory)?.into_iter().filter(|past| past.step == step);
    Ok(past.map(|past| past.skipped_rows).collect())
}

/// Returns the rows that the run in `directory` skips after its newest checkpoint. Empty if there is no run.
///
/// # Errors
/// A log or checkpoint that can't be read.
pub fn skipped_rows(directory: &RunDirectory) -> Result<SkippedRows, RunError> {
    let dir = CheckpointDirectory::new(directory.checkpoints());
    let Some(step) = dir.steps()?.pop() else { return Ok(SkippedRows::default()) };
    let path: PathBuf = dir.checkpoint(step);
    let mut skipped = CheckpointState::read(&path)?.skipped_rows;
    rows_skipped_at(directory, step)?.into_iter().for_each(|rows| skipped.skip(rows));
    Ok(skipped)
}
