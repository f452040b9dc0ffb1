//! Training: from a model and a source of rows to checkpoints.
//!
//! - [`Trainer`] is a model in training; [`Trainer::step`] is one optimizer step: loss over a global batch, gradients added up
//!   over micro-batches, clipping, AdamW, unless the guard has something against it.
//! - [`Session`] is the loop around it: rows of the next step fetched ahead, [`Observer`]s called, checkpoints taken, until
//!   the last step or a [`StopSignal`].
//! - [`Checkpointer`], [`CheckpointFolder`] and [`Checkpoint`] write, find and load checkpoints, which are whole or not there.
//! - [`GuardConfig`], [`Alarm`] and [`Detours`] are about steps that go wrong: what is watched, what was found, what is left out.
//! - [`Recipe`] is what decides a step: the sections `[optim]`, `[schedule]`, `[train]` and `[guard]`.
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

pub use alarm::{Action, Alarm, Rule, SkipReason};
pub use checkpoint::{
    Cadence, Checkpoint, CheckpointConfig, CheckpointFolder, CheckpointState, Checkpointer, FailedCheckpoint,
    Found, Milestones, RunIdentity, SavedCheckpoint, Written, refuse_other_model, verify,
};
pub use distributed::{DistributedConfig, Division, Mode};
pub use error::{ObserverError, TrainError};
pub use faults::{Distortion, NumberFault};
pub use guard::{
    GuardConfig, GuardState, LateStep, NonFiniteRule, OutlierRule, StallRule, StepClock, StepLimit, Verdict,
};
pub use optim::{Decay, OptimConfig, OptimKind};
pub use progress::Progress;
pub use rows::{Detours, RowRange, RowSource};
pub use schedule::{Rewarm, Schedule, ScheduleConfig, ScheduleKind};
pub use session::{
    CheckpointTrouble, Control, Observer, Outcome, Rewind, RewindReason, Session, StepReport, StopReason,
    View, kept_name,
};
pub use step::{Recipe, StepOutcome, Trainer, document_spans};
pub use stop::StopSignal;
pub use token_count::{TokenCount, TokenCountError};
pub use train_config::{LossReduction, TrainConfig};
