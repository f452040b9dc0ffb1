//! Lock of the data cache. Runs that start at the same time fill the cache one after another, and the second
//! finds what the first has prepared.

use std::fs::TryLockError;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use fineline_files::{create_directory, remove_temporary_files};
use fineline_train::StopSignal;
use fs_err as fs;

use crate::error::RunError;
use crate::progress::RunProgress;
use crate::stop::check_stop;

/// Interval between two checks whether the cache is free or a stop was requested.
const PATIENCE: Duration = Duration::from_millis(50);

/// The lock. The operating system releases it when the process ends for any reason.
#[derive(Debug)]
pub(crate) struct CacheLock {
    _file: fs::File,
}

impl CacheLock {
    /// Waits for the lock of `cache`, which is created if it doesn't exist. `progress` gets the process that
    /// holds the lock.
    ///
    /// # Errors
    /// [`RunError::Stopped`] if a stop is requested meanwhile.
    pub(crate) fn take(
        cache: &Path,
        stop: &StopSignal,
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Self, RunError> {
        create_directory(cache)?;
        let path = cache.join(".lock");
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut told = false;
        loop {
            match file.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => {
                    let message = format!("can't lock {}: {source}", path.display());
                    return Err(io::Error::new(source.kind(), message).into());
                }
            }
            if !told {
                progress(RunProgress::Waiting { cache, process: holder(&mut file) });
                told = true;
            }
            check_stop(stop)?;
            std::thread::sleep(PATIENCE);
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        clear(cache)?;
        Ok(Self { _file: file })
    }
}

/// Removes the temporary files of killed runs.
fn clear(cache: &Path) -> io::Result<()> {
    remove_temporary_files(cache)?;
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_temporary_files(&entry.path())?;
        }
    }
    Ok(())
}

/// Returns the process that holds the lock, if it has written its number.
fn holder(file: &mut fs::File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_cleared_of_what_a_killed_run_left() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        for name in ["web-0123.bin", "tokenizer-0123/tokenizer.json"] {
            let path = cache.join(name);
            fineline_files::create_parent_directory(&path).unwrap();
            fineline_files::write_atomically(&path, b"whole").unwrap();
            // A killed process doesn't drop its file either.
            std::mem::forget(fineline_files::AtomicFile::create(&path).unwrap());
        }
        let files = |dir: &Path| fs::read_dir(dir).unwrap().count();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 2]);
        let _lock = CacheLock::take(&cache, &StopSignal::default(), &mut |_| ()).unwrap();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 1], "the lock has come");
        assert!(cache.join("web-0123.bin").is_file());
    }

    #[test]
    fn a_second_one_waits_says_for_whom_and_heeds_the_stop_signal() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let stop = StopSignal::default();
        let first = CacheLock::take(&cache, &stop, &mut |_| panic!("nobody is to be waited for")).unwrap();
        let mut waited_for = Vec::new();
        let waited = CacheLock::take(&cache, &stop, &mut |told| {
            if let RunProgress::Waiting { process, .. } = told {
                waited_for.push(process);
                stop.request(15);
            }
        });
        assert!(matches!(waited, Err(RunError::Stopped { signal: 15 })), "{waited:?}");
        assert_eq!(waited_for, [Some(std::process::id())]);
        drop(first);
        CacheLock::take(&cache, &StopSignal::default(), &mut |_| ()).unwrap();
    }
}
