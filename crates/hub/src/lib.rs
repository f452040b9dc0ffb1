//! Files from the Hugging Face Hub, fetched before a run: never during one.
//!
//! A [`Repository`] at a revision is a [`Snapshot`]: a commit, and its files with their sizes and hashes. [`Hub::download`] puts one of
//! them on the disk: whole, verified and under its name, or not at all; a broken connection is taken up again where it broke, also by the
//! next start of the program. [`fetch_dataset`] finds the files of a data set's configurations and splits and lays them out for probes;
//! [`fetch_model`] those of a model, whose place [`find_model`] tells without asking the hub.
//!
//! [`HubConfig::from_env`] reads the variables of Hugging Face's own tools: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
//!
//! Deliberately unknown here: what the files hold. Why not the `hf-hub` crate: its version 1.0 neither verifies what it downloads nor takes
//! up a broken download, and it brings an asynchronous runtime and a transfer protocol of its own.

// Errors and settings.
mod config;
mod error;

// Repositories, and requests to a hub.
mod client;
mod hash;
mod repository;

// Files on the disk.
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
