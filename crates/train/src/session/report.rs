//! Records of a session: reports of steps, and how it ended.

use crate::alarm::{GuardAlarm, SkipReason};
use crate::rows::RowRange;

/// What is known of one step once it is done: a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step, counted from 1.
    pub step: u64,
    /// Tokens consumed so far, with those of this step.
    pub tokens: u64,
    /// The loss of the global batch before the update, nats per token.
    pub loss: f32,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of all gradients before clipping.
    pub grad_norm: f32,
    /// Seconds from asking for the rows to the end of the update; observers and checkpoints are not in it.
    pub step_s: f64,
    /// Seconds of these spent waiting for the rows.
    pub data_wait_s: f64,
    /// Tokens of the step over `step_s`.
    pub tokens_per_s: f64,
    /// Why there was no update, if there was none.
    pub skipped: Option<SkipReason>,
    /// Steps skipped since the last one that was not, this one included.
    pub consecutive_skips: u32,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionOutcome {
    /// All steps are done.
    Finished,
    /// It was asked to stop, and did so after a checkpoint.
    Stopped(StopReason),
    /// It is to go on from an earlier checkpoint. Weights and moments are worth nothing.
    Rewind(Rewind),
}

/// Where a run is to go on instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewind {
    /// The step after which this was asked for.
    pub from_step: u64,
    /// The run goes on from the newest checkpoint that is not after this step.
    pub target_step: u64,
    /// The rows that it then [leaves out](crate::Trainer::leave_out).
    pub skipped_rows: RowRange,
    /// Why.
    pub reason: RewindReason,
}

/// Who asked for a [`Rewind`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RewindReason {
    /// The guard.
    Guard(GuardAlarm),
    /// An observer, through [`TrainerControl::Rewind`](crate::TrainerControl::Rewind).
    Observer,
}

/// Who asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The [`StopSignal`](crate::StopSignal), with the number of its request.
    Signal(usize),
    /// An observer, through [`TrainerControl::Stop`](crate::TrainerControl::Stop).
    Observer,
}
