use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err::File;

/// A file that is whole or not there: written beside its place, then synced and renamed into it.
///
/// Dropped without [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
}

/// Makes the names of files that are open at once in this process differ.
static CREATED: AtomicU64 = AtomicU64::new(0);

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{}.tmp", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(name);
        let file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        Ok(Self { file: Some(file), temporary, path: path.to_owned() })
    }

    /// Makes the file durable and puts it in its place.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        fs_err::rename(&self.temporary, &self.path)?;
        sync_folder_of(&self.path)
    }
}

/// Makes a rename durable. Elsewhere than on Unix a folder cannot be opened, and need not be.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| cfg!(unix) && !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("open until commit, which takes the value").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().expect("open until commit, which takes the value").flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit there is nothing to remove, and an error on the way out cannot be told to anyone.
        let _ = fs_err::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (text, keep) in [("old", true), ("new", false)] {
            let mut file = AtomicFile::create(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            if keep {
                file.commit().unwrap();
            }
        }
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
