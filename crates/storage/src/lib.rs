//! Remote storage of a run on S3, Google Cloud Storage, Azure, or under a path.
//!
//! - [`Store`] reads and writes objects by name below an address, through the `object_store` crate, without
//!   `async`.
//! - [`Uploader`] uploads complete checkpoints and the run's files in the background, retries failures, and
//!   reports [`UploadUpdate`]s. It never blocks or fails training.
//! - [`RemoteRun`] lists the complete checkpoints of a stored run, and downloads and verifies its files.
//!
//! The store has the layout of the run directory. A checkpoint's `manifest.json` (size and BLAKE3 hash of
//! every file) is written last and removed first, so that a remote checkpoint is either complete or absent.
//!
//! This crate knows nothing of training, of the contents of files, or of logging.

// Errors.
mod error;

// Stored data other than checkpoints: a run's files.
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
