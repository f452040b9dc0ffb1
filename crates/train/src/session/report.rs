//! Records of a session: the report of each step, and the outcome.

use crate::alarm::{GuardAlarm, SkipReason};
use crate::rows::RowRange;

/// The report of a finished step, a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step, counted from 1.
    pub step: u64,
    /// Number of tokens consumed so far, this step included.
    pub tokens: u64,
    /// Loss of the global batch before the update, in nats per token.
    pub loss: f32,
    /// Learning rate of the update.
    pub lr: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f32,
    /// Seconds from the request of the rows to the end of the update, without observers and checkpoints.
    pub step_s: f64,
    /// Seconds of `step_s` spent waiting for the rows.
    pub data_wait_s: f64,
    /// Tokens of the step divided by `step_s`.
    pub tokens_per_s: f64,
    /// Reason for skipping the update. `None` if it was applied.
    pub skipped: Option<SkipReason>,
    /// Number of consecutive skipped steps, this one included.
    pub consecutive_skips: u32,
}

/// The outcome of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionOutcome {
    /// All steps are done.
    Finished,
    /// Training stopped on request, after a checkpoint.
    Stopped(StopReason),
    /// Training must resume from an earlier checkpoint. The weights and the optimizer state are to be
    /// discarded.
    Rewind(Rewind),
}

/// A rewind to an earlier checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewind {
    /// The step after which this was requested.
    pub from_step: u64,
    /// The run resumes from the newest checkpoint that is not after this step.
    pub target_step: u64,
    /// The rows that it then [skips](crate::Trainer::skip_rows).
    pub skipped_rows: RowRange,
    /// Reason for the rewind.
    pub reason: RewindReason,
}

/// Reason for a [`Rewind`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RewindReason {
    /// An alarm of the guard.
    Guard(GuardAlarm),
    /// A request of an observer, [`TrainerControl::Rewind`](crate::TrainerControl::Rewind).
    Observer,
}

/// Reason for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A request of the [`StopSignal`](crate::StopSignal), with its number.
    Signal(usize),
    /// A request of an observer, [`TrainerControl::Stop`](crate::TrainerControl::Stop).
    Observer,
}
