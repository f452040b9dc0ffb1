//! Checkpoints: whole or not there.
//!
//! A checkpoint is a folder `step-00000200` that `transformers` loads as a model, with the optimizer's moments, the
//! run's state and a manifest of all files beside it. It is written under another name, made durable, and renamed into
//! place; nothing else in the project writes below `checkpoints/`.
//!
//! - [`Checkpointer`] writes: snapshot now, files in the background, old ones away.
//! - [`CheckpointDirectory`] finds: the newest whole one, with the damaged ones that it passed over.
//! - [`Checkpoint`] loads: weights, moments and state.

// The section, names and records.
mod config;
mod format;
mod identity;
mod shard;
mod state;

// Files.
mod manifest;
mod tensors;

// A checkpoint written and loaded, and the directory of all.
mod directory;
mod load;
mod snapshot;

// The writer.
mod checkpointer;

pub use checkpointer::{
    CheckpointSchedule, Checkpointer, FailedCheckpoint, SavedCheckpoint, WrittenCheckpoint,
};
pub use config::{CheckpointConfig, CheckpointMilestones};
pub use directory::{CheckpointDirectory, CheckpointScan};
pub use identity::CheckpointIdentity;
pub use load::{Checkpoint, check_same_model};
pub use manifest::verify_checkpoint;
pub use state::CheckpointState;

#[cfg(test)]
mod tests;
