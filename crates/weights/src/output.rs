//! A large file that is synced while it is written.

use std::io::{self, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// Number of bytes after which syncing starts. Otherwise the system collects gigabytes first, and the sync at
/// the end waits for all of them.
const AHEAD: u64 = 256 << 20;
/// Largest size of one write in bytes. Linux allocates pages of the size of a 2 MiB write, which took a
/// virtual machine ten times as long as small pages (0.3 versus 2 to 3 GB/s). All sizes from 128 KiB to 1 MiB
/// are equally fast.
const AT_ONCE: usize = 512 << 10;

/// A large file that is synced while it is written.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: fs_err::File,
    waiting: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl OutputFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: fs_err::File::create(path)?, waiting: 0, syncing: None })
    }

    /// Syncs the file and returns its size.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.wait()?;
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.syncing.take() {
            // A panic of the thread is a bug, and is propagated.
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }

    /// Starts syncing what was written so far, unless an earlier sync is still running.
    fn sync_in_background(&mut self) -> io::Result<()> {
        if self.syncing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        self.wait()?;
        let file = self.file.try_clone()?;
        let thread = std::thread::Builder::new().name("sync".to_owned());
        self.syncing = Some(thread.spawn(move || file.sync_data())?);
        self.waiting = 0;
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(&bytes[..bytes.len().min(AT_ONCE)])?;
        self.waiting += written as u64;
        if self.waiting >= AHEAD {
            self.sync_in_background()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
