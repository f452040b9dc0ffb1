//! Runs that start at once fill the data cache one after another: the second finds what the first has made.

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

/// Time between two looks at whether the cache is free, or a stop asked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// The right to fill a cache. The operating system takes it back when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct CacheLock {
    _file: fs::File,
}

impl CacheLock {
    /// Waits until nobody else fills `cache`, which is made if need be. Who is waited for, `progress` hears.
    ///
    /// # Errors
    /// [`RunError::Stopped`], if `stop` comes in between.
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

/// Removes what a killed run has left half written, beside the shards and in the folders of tokenizers.
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

/// The process that has the lock, as far as it has written its number down.
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
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        for name in ["web-0123.bin", "tokenizer-0123/tokenizer.json"] {
            let path = cache.join(name);
            fineline_files::create_parent_directory(&path).unwrap();
            fineline_files::write_atomically(&path, b"whole").unwrap();
            // Nobody drops it: so does a kill.
            std::mem::forget(fineline_files::AtomicFile::create(&path).unwrap());
        }
        let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 2]);
        let _lock = CacheLock::take(&cache, &StopSignal::default(), &mut |_| ()).unwrap();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 1], "the lock has come");
        assert!(cache.join("web-0123.bin").is_file());
    }

    #[test]
    fn a_second_one_waits_says_for_whom_and_heeds_the_stop_signal() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
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
