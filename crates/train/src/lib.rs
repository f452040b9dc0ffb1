//! Training: from a model and a source of rows to checkpoints.
//!
//! - [`Trainer`] is a model in training. [`Trainer::step`] is one optimizer step: loss of a global batch,
//!   gradients accumulated over micro-batches, clipping, AdamW, unless the guard skips the update.
//! - [`Session`] is the loop around it: it prefetches rows, calls [`Observer`]s and writes checkpoints, until
//!   the last step or a [`StopSignal`].
//! - [`RowSchedule`] computes which rows each step has.
//! - [`Checkpointer`], [`CheckpointDirectory`] and [`Checkpoint`] write, find and load checkpoints.
//! - [`GuardConfig`], [`GuardAlarm`] and [`SkippedRows`] handle steps that go wrong: the rules, the alarms,
//!   the rows to skip.
//! - [`TrainingRecipe`] holds the settings that determine the updates.
//!
//! Resuming from a checkpoint gives the same bits as never having stopped.
//!
//! This crate doesn't depend on what observes a step (logs, probes and validation are all observers), on
//! text, on the run directory around `checkpoints/`, or on where the configuration comes from.

// Ground: records, and the error type.
mod alarm;
mod error;
mod progress;
mod stop;
mod token_count;

// Rows, learning rate and guard of a step.
mod faults;
mod guard;
mod rows;
mod schedule;
mod train_config;

// Parameters and their update.
mod optim;
mod parameters;

// Reduction over ranks.
mod distributed;

// One step.
mod step;

// Checkpoints.
mod checkpoint;

// The loop around steps.
mod session;

// A tiny model for tests.
#[cfg(test)]
mod testing;

pub use alarm::{GuardAction, GuardAlarm, GuardRule, SkipReason};
pub use checkpoint::{
    Checkpoint, CheckpointConfig, CheckpointDirectory, CheckpointIdentity, CheckpointMilestones,
    CheckpointScan, CheckpointSchedule, CheckpointState, Checkpointer, FailedCheckpoint, SavedCheckpoint,
    WrittenCheckpoint, check_same_model, verify_checkpoint,
};
pub use distributed::{DistributedConfig, DistributedMode, Division};
pub use error::{ObserverError, TrainError};
pub use faults::{MetricDistortion, MetricFault};
pub use guard::{
    GuardConfig, GuardState, GuardVerdict, LateStep, NonFiniteRule, OutlierRule, StallRule, StepClock,
    StepLimit,
};
pub use optim::{OptimConfig, OptimKind, WeightDecayScope};
pub use progress::TrainingProgress;
pub use rows::{RowRange, RowSchedule, RowSource, SkippedRows};
pub use schedule::{LrSchedule, Rewarm, ScheduleConfig, ScheduleKind};
pub use session::{
    CheckpointProblem, Observer, Rewind, RewindReason, Session, SessionOutcome, StepReport, StepView,
    StopReason, TrainerControl,
};
pub use step::{StepOutcome, Trainer, TrainingRecipe, document_spans};
pub use stop::StopSignal;
pub use token_count::{TokenCount, TokenCountError};
pub use train_config::{LossReduction, TrainConfig};
