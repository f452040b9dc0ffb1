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

mod batch;
mod checkpoint;
mod config;
mod distributed;
mod error;
mod faults;
mod guard;
mod observer;
mod optim;
mod parameters;
mod prefetch;
mod schedule;
mod session;
mod stop;
#[cfg(test)]
mod testing;
mod token_count;
mod trainer;
mod vote;

pub use batch::document_spans;
pub use checkpoint::{
    Cadence, Checkpoint, CheckpointConfig, CheckpointFolder, CheckpointState, Checkpointer, FailedCheckpoint,
    Found, Milestones, RunIdentity, SavedCheckpoint, Written, refuse_other_model, verify,
};
pub use config::{LossReduction, TrainConfig};
pub use distributed::{DistributedConfig, Division, Mode};
pub use error::{ObserverError, TrainError};
pub use faults::{Distortion, NumberFault};
pub use guard::{
    Action, Alarm, Detours, GuardConfig, GuardState, LateStep, NonFiniteRule, OutlierRule, RowRange, Rule,
    StallRule, StepClock, StepLimit, Verdict,
};
pub use observer::{CheckpointTrouble, Control, Observer, View};
pub use optim::{Decay, OptimConfig, OptimKind};
pub use prefetch::RowSource;
pub use schedule::{Rewarm, Schedule, ScheduleConfig, ScheduleKind};
pub use session::{Outcome, Rewind, RewindReason, Session, StepReport, StopReason, kept_name};
pub use stop::StopSignal;
pub use token_count::{TokenCount, TokenCountError};
pub use trainer::{Progress, Recipe, SkipReason, StepOutcome, Trainer};
