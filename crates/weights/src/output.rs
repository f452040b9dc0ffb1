//! A large file that is synced while it is written.

use std::io::{self, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// Bytes after which the disk is asked to begin. Left to itself, the system gathers gigabytes first, and all wait for them at the end.
const AHEAD: u64 = 256 << 20;
/// Bytes of one write. Linux gives a write of 2 MiB pages of that size, which took a virtual machine ten times as long to come by as
/// small ones (0.3 against 2 to 3 GB/s); from 128 KiB to 1 MiB all are alike.
const AT_ONCE: usize = 512 << 10;

/// A large file that goes to the disk while it is being written.
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

    /// Waits until all of it is on the disk, and gives its size.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.wait()?;
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.syncing.take() {
            // A panic there is a bug, and is shown as what it is.
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }

    /// Has what was written so far go to the disk, unless that is still busy with what was written before.
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
