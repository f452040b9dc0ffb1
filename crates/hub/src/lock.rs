//! A lock on a directory.

use std::fs::TryLockError;
use std::io;
use std::path::Path;

use fineline_files::{create_directory, remove_temporary_files};
use fs_err as fs;

use crate::error::HubError;

/// The exclusive right to download into a directory. The operating system releases it when the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: fs::File,
}

impl DirectoryLock {
    /// Creates the directory and locks it. Removes temporary files of killed processes, but keeps partial
    /// downloads, which can be resumed.
    ///
    /// # Errors
    /// Returns [`HubError::Locked`] if another process holds the lock, and [`HubError::Io`] if the directory
    /// can't be created or locked.
    pub fn take(directory: &Path) -> Result<Self, HubError> {
        create_directory(directory)?;
        let path = directory.join(".lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {
                remove_temporary_files(directory)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(HubError::Locked { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => {
                let message = format!("can't lock {}: {source}", path.display());
                Err(io::Error::new(source.kind(), message).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_kept_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("org__name");
        let lock = DirectoryLock::take(&path).expect("nobody else is there");
        assert!(matches!(DirectoryLock::take(&path), Err(HubError::Locked { .. })));
        drop(lock);
        DirectoryLock::take(&path).expect("it is free again");
    }
}
