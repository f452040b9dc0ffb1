//! Checkpoints: whole or not there.
//!
//! A checkpoint is a folder `step-00000200` that `transformers` loads as a model, with the optimizer's moments, the
//! run's state and a manifest of all files beside it. It is written under another name, made durable, and renamed into
//! place; nothing else in the project writes below `checkpoints/`.
//!
//! - [`Checkpointer`] writes: snapshot now, files in the background, old ones away.
//! - [`CheckpointFolder`] finds: the newest whole one, with the damaged ones that it passed over.
//! - [`Checkpoint`] loads: weights, moments and state.

mod checkpointer;
mod config;
mod folder;
mod load;
mod manifest;
mod shard;
mod snapshot;
mod state;
mod tensors;

pub use checkpointer::{Cadence, Checkpointer, FailedCheckpoint, SavedCheckpoint, Written};
pub use config::{CheckpointConfig, Milestones};
pub use folder::{CheckpointFolder, Found};
pub use load::{Checkpoint, refuse_other_model};
pub use manifest::verify;
pub use snapshot::RunIdentity;
pub use state::CheckpointState;

#[cfg(test)]
mod tests;
