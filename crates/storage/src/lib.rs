//! A run's copy elsewhere: on S3, Google Cloud Storage, Azure, or under a path.
//!
//! - [`Store`] is the place: objects by name below an address, through the `object_store` crate, without `async`.
//! - [`Uploader`] copies whole checkpoints and the run's files there in the background, tries again what failed, and tells
//!   what became of it. It never stops whoever gives it work.
//! - [`RemoteRun`] reads a run back: which checkpoints are whole, and their files, held to their manifest.
//!
//! The copy is laid out as the run's folder is. A checkpoint's `manifest.json` (size and BLAKE3 of every file) is written
//! last and removed first, so that a remote checkpoint too is whole or not there.
//!
//! This crate knows nothing of training, of what the files hold, or of who logs what happened.

// Errors.
mod error;

// What is stored besides checkpoints: a run's files.
mod files;

// Objects by name.
mod store;

// A run in a store.
mod checkpoint_upload;
mod remote_run;
mod uploader;

pub use error::StorageError;
pub use remote_run::RemoteRun;
pub use store::Store;
pub use uploader::{OutdatedSteps, UploadUpdate, Uploader, UploaderOptions};

#[cfg(test)]
mod tests;
