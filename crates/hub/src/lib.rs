//! Downloads from the Hugging Face Hub. Only used before a run, never during one.
//!
//! A [`Repository`] at a revision is a [`Snapshot`]: a commit, and its files with their sizes and hashes.
//! [`Hub::download`] downloads one of them, verified and atomically. An interrupted download resumes where it
//! stopped, even after a restart of the program. [`fetch_dataset`] downloads the files of a data set's
//! configurations and splits in the layout that probes expect, and [`fetch_model`] those of a model.
//! [`find_model`] finds a downloaded model without contacting the hub.
//!
//! [`HubConfig::from_env`] reads the environment variables of Hugging Face's own tools: `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_HUB_OFFLINE`.
//!
//! This crate knows nothing of the contents of files. It doesn't use the `hf-hub` crate, whose version 1.0
//! neither verifies nor resumes downloads, and depends on an asynchronous runtime and a transfer protocol of
//! its own.

// Errors and settings.
mod config;
mod error;

// Repositories, and requests to a hub.
mod client;
mod hash;
mod repository;

// Files on disk.
mod download;
mod fetched;
mod lock;

// Data sets and models.
mod dataset;
mod layout;
mod model;

pub use client::Hub;
pub use config::{Access, HubConfig};
pub use dataset::{DatasetRequest, FetchedDataset, FetchedSplit, fetch_dataset};
pub use download::DownloadRequest;
pub use error::HubError;
pub use fetched::{FetchOutcome, FetchedFile};
pub use hash::FileHash;
pub use layout::{DEFAULT_CONFIG, DatasetLayout};
pub use lock::DirectoryLock;
pub use model::{FetchedModel, ModelAddress, ModelCheck, fetch_model, find_model};
pub use repository::{RemoteFile, Repository, RepositoryKind, Snapshot};
