use std::fs::TryLockError;
use std::io;
use std::path::Path;

use fineline_files::{create_directory, remove_temporary_files};
use fs_err as fs;

use crate::error::HubError;

/// The right to fetch into a folder. The operating system takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct FolderLock {
    _file: fs::File,
}

impl FolderLock {
    /// Makes the folder, and keeps every other process that fetches out of it. What a killed one has left half written is removed;
    /// downloads that can be taken up again are kept.
    ///
    /// # Errors
    /// [`HubError::Locked`] where another process has the folder.
    pub fn take(folder: &Path) -> Result<Self, HubError> {
        create_directory(folder)?;
        let path = folder.join(".lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {
                remove_temporary_files(folder)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(HubError::Locked { folder: folder.to_owned() }),
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
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("org__name");
        let lock = FolderLock::take(&path).expect("nobody else is there");
        assert!(matches!(FolderLock::take(&path), Err(HubError::Locked { .. })));
        drop(lock);
        FolderLock::take(&path).expect("it is free again");
    }
}
