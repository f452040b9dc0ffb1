//! Training: from a model and a source of rows to checkpoints.
//!
//! - [`Trainer`] is a model in training; [`Trainer::step`] is one optimizer step: loss over a global batch, gradients added up
//!   over micro-batches, clipping, AdamW, unless the guard has something against it.
//! - [`Session`] is the loop around it: rows of the next step fetched ahead, [`Observer`]s called, checkpoints taken, until
//!   the last step or a [`StopSignal`].
//! - [`Checkpointer`], [`CheckpointDirectory`] and [`Checkpoint`] write, find and load checkpoints, which are whole or not there.
//! - [`GuardConfig`], [`GuardAlarm`] and [`SkippedRows`] are about steps that go wrong: what is watched, what was found, what is left out.
//! - [`TrainingRecipe`] is what decides a step: the sections `[optim]`, `[schedule]`, `[train]` and `[guard]`.
//!
//! Going on from a checkpoint gives the same bits as never having stopped.
//!
//! This crate knows nothing of what looks at a step (logs, probes, validation: all are observers), of text, of the run
//! directory around `checkpoints/`, or of where its configuration comes from.

// Ground: records, and the error of the crate.
mod alarm;
mod error;
mod progress;
mod stop;
mod token_count;

// What decides a step: rows, sections of the configuration, the guard.
mod faults;
mod guard;
mod rows;
mod schedule;
mod train_config;

// Parameters and their update.
mod optim;
mod parameters;

// Steps shared by ranks.
mod distributed;

// One step.
mod step;

// Checkpoints of training.
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
    StopReason, TrainerControl, kept_checkpoint_name,
};
pub use step::{StepOutcome, Trainer, TrainingRecipe, document_spans};
pub use stop::StopSignal;
pub use token_count::{TokenCount, TokenCountError};
pub use train_config::{LossReduction, TrainConfig};
