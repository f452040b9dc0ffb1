//! The loop around steps: rows fetched ahead, observers called, checkpoints taken.

// Records.
mod report;

// Observers and rows.
mod observer;
mod prefetch;
mod vote;

// The loop.
mod training_loop;

pub use observer::{CheckpointProblem, Observer, StepView, TrainerControl};
pub use report::{Rewind, RewindReason, SessionOutcome, StepReport, StopReason};
pub use training_loop::{Session, kept_checkpoint_name};
