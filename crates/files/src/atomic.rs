//! Files and directories that are complete or absent.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::{TEMPORARY_PREFIX, create_parent_directory, rename, sync_directory};

/// Replaces the content of the file at `path`. A reader, or a crash, sees the old content or the new content.
///
/// # Errors
/// The error of the file system, with the path. The old content is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Removes the incomplete files and directories that killed processes left in a directory.
///
/// Subdirectories are not searched. A directory that doesn't exist is not an error.
///
/// The caller must hold the lock of the directory: otherwise these may be files that another process is
/// writing.
///
/// # Errors
/// The error of the file system, with the path.
pub fn remove_temporary_files(dir: &Path) -> io::Result<()> {
    let entries = match fs_err::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs_err::remove_dir_all(entry.path())?;
        } else {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A buffered writer whose file appears at its path only when it is complete.
///
/// The parent directory must exist. Dropping it without [`commit`](Self::commit) removes what was written.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<File>,
    temporary: TemporaryFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts writing the file that [`commit`](Self::commit) will put at `path`.
    ///
    /// # Errors
    /// The error of the file system, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, temporary) = create_temporary_file(path).map_err(|error| cannot_write(path, &error))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// Syncs the file and renames it to its path.
    ///
    /// # Errors
    /// The error of the file system, with the path.
    pub fn commit(self) -> io::Result<()> {
        let Self { file, temporary, path } = self;
        let synced =
            file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|error| cannot_write(&path, &error))?;
        rename(&temporary.0, &path)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| cannot_write(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| cannot_write(&self.path, &error))
    }
}

/// A directory that appears at its path only when it is complete.
///
/// Write its files below [`path`](Self::path) and sync each of them, for example with
/// [`write_synced`](crate::write_synced). Dropping it without [`commit`](Self::commit) removes what was
/// written.
#[derive(Debug)]
pub struct AtomicDirectory {
    temporary: TemporaryDirectory,
    path: PathBuf,
}

impl AtomicDirectory {
    /// Starts the directory that [`commit`](Self::commit) will put at `path`. Missing parents are created.
    ///
    /// At the time of the commit, nothing or an empty directory may exist at `path`.
    ///
    /// # Errors
    /// The error of the file system, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        create_parent_directory(path)?;
        loop {
            let temporary = temporary_path(path)?;
            match fs_err::create_dir(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    created?;
                    return Ok(Self { temporary: TemporaryDirectory(temporary), path: path.to_owned() });
                }
            }
        }
    }

    /// Returns the temporary path of the directory, which is valid until the commit.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.temporary.0
    }

    /// Syncs the names of the files and renames the directory to its path.
    ///
    /// # Errors
    /// The error of the file system, with the path, also if `path` is a directory that isn't empty.
    pub fn commit(self) -> io::Result<()> {
        sync_directory(self.path())?;
        if self.path.is_dir() {
            fs_err::remove_dir(&self.path)?;
        }
        rename(self.path(), &self.path)
    }
}

/// A file under its temporary name, removed when dropped.
#[derive(Debug)]
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // After the rename there is nothing to remove, and an error cannot be returned from here.
        let _ = fs_err::remove_file(&self.0);
    }
}

/// A directory under its temporary name, removed when dropped.
#[derive(Debug)]
struct TemporaryDirectory(PathBuf);

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // After the rename there is nothing to remove, and an error cannot be returned from here.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// Number of temporary names that this process has used. Makes each of them unique.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// Returns a name in the directory of `path` that no other writer of this process uses.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = OsString::from(TEMPORARY_PREFIX);
    temporary.push(name);
    temporary.push(format!(".{}-{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

fn create_temporary_file(path: &Path) -> io::Result<(File, TemporaryFile)> {
    loop {
        let temporary = temporary_path(path)?;
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            // Left by a killed process, or in use by a process with the same id in another container.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return Ok((file?, TemporaryFile(temporary))),
        }
    }
}

/// Returns the error with the final path, which the user knows, in place of the temporary one.
fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::write_synced;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for content in ["one", "two, longer", "3"] {
            write_atomically(&path, content.as_bytes()).unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn an_uncommitted_file_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomically(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_directory_is_complete_or_absent() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("above/dir");
        let dir = AtomicDirectory::create(&path).unwrap();
        write_synced(&dir.path().join("a"), b"half").unwrap();
        drop(dir);
        assert!(names(&temp.path().join("above")).is_empty());

        fs_err::create_dir(&path).unwrap();
        let dir = AtomicDirectory::create(&path).unwrap();
        write_synced(&dir.path().join("a"), b"complete").unwrap();
        dir.commit().unwrap();
        assert_eq!(names(&temp.path().join("above")), ["dir"]);
        assert_eq!(names(&path), ["a"]);

        let late = AtomicDirectory::create(&path).unwrap();
        assert!(late.commit().unwrap_err().to_string().contains("above/dir"));
        assert_eq!(names(&temp.path().join("above")), ["dir"]);
        assert_eq!(names(&path), ["a"]);
    }

    #[test]
    fn writers_of_one_file_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut files = [0, 1].map(|_| AtomicFile::create(&path).unwrap());
        files[0].write_all(b"first").unwrap();
        files[1].write_all(b"second").unwrap();
        for (file, content) in files.into_iter().zip(["first", "second"]) {
            file.commit().unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn files_of_a_killed_process_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("step-00000002.parquet");
        fs_err::write(dir.path().join("kept"), "").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        // A kill doesn't run destructors either.
        std::mem::forget(file);
        fs_err::create_dir_all(dir.path().join(".writing-dir/below")).unwrap();
        assert_eq!(names(dir.path()).len(), 3);

        remove_temporary_files(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["kept"]);
        remove_temporary_files(&dir.path().join("nowhere")).unwrap();
    }

    #[test]
    fn files_of_killed_processes_do_not_block_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let next = CREATED.load(Ordering::Relaxed);
        for number in next..next + 20 {
            let leftover = format!("{TEMPORARY_PREFIX}a.{}-{number}", std::process::id());
            fs_err::write(dir.path().join(leftover), "other").unwrap();
        }
        write_atomically(&path, b"mine").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"mine");
        let others: Vec<_> = names(dir.path()).into_iter().filter(|name| name != "a").collect();
        assert!(others.len() == 20, "{others:?}");
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/file");
        let error = write_atomically(&path, b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/file"), "{error}");
        assert_eq!(write_atomically(Path::new("/"), b"").unwrap_err().kind(), io::ErrorKind::InvalidFilename);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_mode_follows_the_umask() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs_err::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs_err::write(dir.path().join("plain"), "").unwrap();
        write_atomically(&dir.path().join("atomic"), b"").unwrap();
        assert_eq!(mode("atomic"), mode("plain"));
    }
}
