//! Files that were fetched, and whether they had to be.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::repository::RemoteFile;

/// Whether a split had to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It was.
    Fetched,
    /// It was there, as the hub has it.
    UpToDate,
}

/// A file of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Its path in the data set's folder.
    pub path: PathBuf,
    /// Its path in the repository.
    pub from: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// The hash that the hub has for it: the same, or Git's object id.
    pub hub_hash: String,
}

impl FetchedFile {
    /// Whether the hub has the file as it was fetched.
    pub(crate) fn is(&self, remote: &RemoteFile) -> bool {
        self.from == remote.path
            && Some(self.size) == remote.size
            && remote.hash.as_ref().is_some_and(|hash| hash.hex() == self.hub_hash)
    }

    /// Whether it is on the disk with its size.
    pub(crate) fn is_there(&self, directory: &Path) -> bool {
        fs::metadata(directory.join(&self.path))
            .is_ok_and(|found| found.is_file() && found.len() == self.size)
    }
}
