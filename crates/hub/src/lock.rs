use std::fs::TryLockError;
use std::io;
use std::path::Path;

use fineline_files::{create_directory, remove_temporary_files};
use fs_err as fs;

use crate::error::HubError;

/// The right to fetch into a folder. The operating system takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: fs::File,
}

impl DirectoryLock {
    /// Makes the folder, and keeps every other process that fetches out of it. What a killed one has left half written is removed;
    /// downloads that can be taken up again are kept.
    ///
    /// # Errors
    /// [`HubError::Locked`] where another process has the folder.
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
