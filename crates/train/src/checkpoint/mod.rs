//! Checkpoints, which are either complete or absent.
//!
//! A checkpoint is a directory `step-00000200` that `transformers` loads as a model, with the optimizer
//! state, the state of the run and a manifest of all files. It is written under another name, synced to disk,
//! and renamed. Nothing else in the project writes below `checkpoints/`.
//!
//! - [`Checkpointer`] takes snapshots, writes them in the background, and removes outdated checkpoints.
//! - [`CheckpointDirectory`] finds the newest complete checkpoint, and reports damaged ones.
//! - [`Checkpoint`] loads weights, optimizer state and the state of the run.

// The section, names of files and tensors, records.
mod config;
mod format;
mod identity;
mod shard;
mod state;

// Files.
mod manifest;
mod tensors;

// Writing and loading a checkpoint, and the directory of all checkpoints.
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
