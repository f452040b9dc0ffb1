//! The lock of a run's folder, and what it keeps from happening.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fineline_files::{create_directory, remove_temporary_files};
use fs_err as fs;

use super::directory::RunDirectory;
use crate::error::RunError;

/// Name of the file that is locked.
const LOCK: &str = ".lock";
/// Name of the folder of signs of life.
const RANKS: &str = ".ranks";

impl RunDirectory {
    /// Refuses a folder that is no run's, but holds what a run would write over.
    ///
    /// # Errors
    /// [`RunError::ForeignFiles`], or a `run.json` that isn't a run's.
    pub fn refuse_foreign_files(&self) -> Result<(), RunError> {
        if self.is_run() {
            return self.stored_identity().map(drop);
        }
        let own = [
            self.config(),
            self.metrics(),
            self.probes(),
            self.events(),
            self.digests(),
            self.items_folder(),
            self.representations_folder(),
            self.tensorboard(),
            self.checkpoints(),
        ];
        let Some(found) = own.into_iter().find(|path| path.exists()) else { return Ok(()) };
        let name = found.strip_prefix(self.root()).unwrap_or(&found).display().to_string();
        Err(RunError::ForeignFiles { dir: self.root().to_owned(), name })
    }

    /// Makes the folder and keeps every other trainer out of it until the lock is dropped. What a killed one has left half
    /// written is removed; `checkpoints` looks after itself.
    ///
    /// # Errors
    /// [`RunError::Locked`] where another process has the run.
    pub fn lock(&self) -> Result<RunLock, RunError> {
        let new = (!self.root().exists()).then(|| self.root().to_owned());
        create_directory(self.root())?;
        let path = self.root().join(LOCK);
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {
                remove_temporary_files(self.root())?;
                remove_temporary_files(&self.items_folder())?;
                remove_temporary_files(&self.representations_folder())?;
                Ok(RunLock { _file: file, new })
            }
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { dir: self.root().to_owned() }),
            Err(TryLockError::Error(source)) => Err(RunError::Io(io::Error::new(
                source.kind(),
                format!("can't lock {}: {source}", path.display()),
            ))),
        }
    }
}

/// Which folder a path led to at a moment: another one may come to lie there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FolderId(#[cfg(unix)] (u64, u64));

impl FolderId {
    /// Of the folder that is there; none if there is none.
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

/// The right to write into a run's folder. The operating system takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct RunLock {
    _file: fs::File,
    /// The folder, if it was made for this.
    new: Option<PathBuf>,
}

impl Drop for RunLock {
    /// A start that came to nothing leaves no folder behind.
    fn drop(&mut self) {
        let Some(folder) = &self.new else { return };
        let is_of_no_run = |name: &OsStr| name == LOCK || name == RANKS;
        let is_empty = fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().all(|entry| is_of_no_run(&entry.file_name())));
        if is_empty {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use fineline_files::write_atomically;

    use super::*;

    #[test]
    fn a_second_trainer_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(folder.path().join("run"));
        let lock = directory.lock().unwrap();
        assert!(matches!(directory.lock(), Err(RunError::Locked { .. })));
        drop(lock);
        directory.lock().unwrap();
    }

    #[test]
    fn a_new_trainer_clears_away_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(folder.path());
        let written = [directory.config(), directory.items(1), directory.items(252)];
        for path in &written {
            fineline_files::create_parent_directory(path).unwrap();
            write_atomically(path, b"whole").unwrap();
            // Nobody drops it: so does a kill.
            std::mem::forget(fineline_files::AtomicFile::create(path).unwrap());
        }
        let files = || {
            let folders = [directory.root().to_owned(), directory.items_folder()];
            folders.map(|folder| fs::read_dir(folder).unwrap().count()).iter().sum::<usize>()
        };
        assert_eq!(files(), 1 + 2 * written.len());
        let _lock = directory.lock().unwrap();
        assert_eq!(files(), 2 + written.len(), "the lock, the folder of items, and what is whole");
        assert!(written.iter().all(|path| path.is_file()));
    }
}
