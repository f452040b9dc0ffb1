//! Records of downloaded files.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::repository::RemoteFile;

/// Outcome of fetching a split or model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It was downloaded.
    Fetched,
    /// It was on disk already, and up to date.
    UpToDate,
}

/// A downloaded file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Its path in the directory of the data set or model.
    pub path: PathBuf,
    /// Its path in the repository.
    pub from: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// The hub's hash of the file: its SHA-256, or a Git object id.
    pub hub_hash: String,
}

impl FetchedFile {
    /// Returns whether the hub still lists the file as it was downloaded.
    pub(crate) fn is(&self, remote: &RemoteFile) -> bool {
        self.from == remote.path
            && Some(self.size) == remote.size
            && remote.hash.as_ref().is_some_and(|hash| hash.hex() == self.hub_hash)
    }

    /// Returns whether the file is on disk with its size.
    pub(crate) fn is_there(&self, directory: &Path) -> bool {
        fs::metadata(directory.join(&self.path))
            .is_ok_and(|found| found.is_file() && found.len() == self.size)
    }
}
