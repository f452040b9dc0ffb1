//! The loop around steps: prefetches rows, calls observers, writes checkpoints.

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
pub use training_loop::Session;
