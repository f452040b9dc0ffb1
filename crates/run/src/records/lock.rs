//! The lock of a run's directory, and checks before it is used.

use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fineline_files::{create_directory, remove_temporary_files};
use fineline_layout::RunDirectory;
use fs_err as fs;

use super::identity::RunIdentity;
use crate::error::RunError;

/// Checks that a directory doesn't hold files that a run would overwrite, unless it is the directory of a
/// run.
///
/// # Errors
/// [`RunError::ForeignFiles`] with the first such file. A `run.json` that can't be read as a run's.
pub fn refuse_foreign_files(directory: &RunDirectory) -> Result<(), RunError> {
    if directory.is_run() {
        return RunIdentity::read(directory).map(drop);
    }
    let Some(found) = directory.own_paths().into_iter().find(|path| path.exists()) else { return Ok(()) };
    let root = directory.root();
    let name = found.strip_prefix(root).unwrap_or(&found).display().to_string();
    Err(RunError::ForeignFiles { dir: root.to_owned(), name })
}

/// Identity of the directory at a path, because another one may be put in its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DirectoryId(#[cfg(unix)] (u64, u64));

impl DirectoryId {
    /// Returns the identity of the directory at `path`. `None` if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Some(Self((metadata.dev(), metadata.ino())))
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Some(Self())
        }
    }
}

/// The lock of a run's directory. The operating system releases it when the process ends for any reason.
#[derive(Debug)]
pub struct RunLock {
    _file: fs::File,
    /// The directory, if it was created for this run.
    created: Option<PathBuf>,
}

impl RunLock {
    /// Creates the directory and locks it against other processes until the lock is dropped. Temporary files
    /// that a killed process has left are removed, except in `checkpoints`, which does so itself.
    ///
    /// # Errors
    /// [`RunError::Locked`] if another process holds the lock.
    pub fn acquire(directory: &RunDirectory) -> Result<Self, RunError> {
        let root = directory.root();
        let created = (!root.exists()).then(|| root.to_owned());
        create_directory(root)?;
        let path = directory.lock_file();
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {
                remove_temporary_files(root)?;
                remove_temporary_files(&directory.items_dir())?;
                remove_temporary_files(&directory.representations_dir())?;
                Ok(Self { _file: file, created })
            }
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { dir: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(RunError::Io(io::Error::new(
                source.kind(),
                format!("can't lock {}: {source}", path.display()),
            ))),
        }
    }
}

impl Drop for RunLock {
    /// Removes the directory if this start created it and left it empty.
    fn drop(&mut self) {
        let Some(dir) = &self.created else { return };
        let is_empty = fs::read_dir(dir).is_ok_and(|entries| {
            entries.flatten().all(|entry| entry.file_name().to_str().is_some_and(RunDirectory::is_transient))
        });
        if is_empty {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use fineline_files::write_atomically;

    use super::*;

    #[test]
    fn a_second_trainer_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(dir.path().join("run"));
        let lock = RunLock::acquire(&directory).unwrap();
        assert!(matches!(RunLock::acquire(&directory), Err(RunError::Locked { .. })));
        drop(lock);
        RunLock::acquire(&directory).unwrap();
    }

    #[test]
    fn a_new_trainer_clears_away_what_a_killed_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(dir.path());
        let written = [directory.config(), directory.items(1), directory.items(252)];
        for path in &written {
            fineline_files::create_parent_directory(path).unwrap();
            write_atomically(path, b"whole").unwrap();
            // A killed process doesn't drop its file either.
            std::mem::forget(fineline_files::AtomicFile::create(path).unwrap());
        }
        let files = || {
            let dirs = [directory.root().to_owned(), directory.items_dir()];
            dirs.map(|dir| fs::read_dir(dir).unwrap().count()).iter().sum::<usize>()
        };
        assert_eq!(files(), 1 + 2 * written.len());
        let _lock = RunLock::acquire(&directory).unwrap();
        assert_eq!(files(), 2 + written.len(), "the lock, the directory of items, and what is whole");
        assert!(written.iter().all(|path| path.is_file()));
    }
}
