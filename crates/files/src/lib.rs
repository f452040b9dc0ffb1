//! Files that are whole or not there, also after a kill or a power cut.
//!
//! A file is written beside its place under a name that begins with [`WRITING`], synced, renamed into its place, and
//! its folder synced, so that a reader sees the old content or the new one and nothing between them.
//!
//! - [`write_atomically`] does this with bytes, [`AtomicFile`] with a stream, [`AtomicFolder`] with a folder of files.
//! - [`write_synced`], [`sync_folder`] and [`rename`] are the steps, for a whole folder that gets its name at the end.
//! - [`link_beside`] gives what is there a second name.
//! - [`create_folder`] and [`create_folder_of`] make folders that survive a power cut too.
//! - [`free_space`] says what fits.
//! - [`with_causes`] is the message of an error, which for a file lies in its cause.
//! - [`remove_remains`] clears away what a killed process left under names of that kind.
//!
//! This crate knows nothing of what the files hold.

mod causes;
mod space;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use causes::with_causes;
pub use space::free_space;

/// How the name of a file or folder begins that is being written; after a kill, of a part of one.
pub const WRITING: &str = ".writing-";

/// Replaces the file at `path` by these bytes: a reader, or a crash, sees the old content or the new one.
///
/// # Errors
/// What the file system says, with the path. The old content is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Writes a file in its place and waits for the disk.
///
/// # Errors
/// What the file system says, with the path. A part of the file may be there.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder and those above it, and waits until their names are on the disk. One that is there is left alone.
///
/// # Errors
/// What the file system says, with the path.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    fs_err::create_dir_all(path)?;
    missing.into_iter().try_for_each(|folder| sync_folder(parent_of(folder)))
}

/// Makes the folder that a file is to lie in: see [`create_folder`].
///
/// # Errors
/// What the file system says, with the path.
pub fn create_folder_of(file: &Path) -> io::Result<()> {
    create_folder(parent_of(file))
}

/// Gives a file or folder, which is wholly on the disk, another name, and waits until the name is there too.
///
/// # Errors
/// What the file system says, with the path.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)?;
    sync_folder(parent_of(to))
}

/// Makes or replaces a symbolic link at `path` to what lies beside it under the name `target`.
///
/// # Errors
/// What the file system says, with the path; [`io::ErrorKind::Unsupported`] elsewhere than on Unix, where links are not everybody's to make.
pub fn link_beside(path: &Path, target: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = std::ffi::OsString::from(WRITING);
    temporary.push(name);
    let temporary = path.with_file_name(temporary);
    match fs_err::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &temporary)?;
    rename(&temporary, path)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    fs_err::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &str, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Waits until the names in a folder are on the disk. Elsewhere than on Unix a folder cannot be opened, and need not be.
///
/// # Errors
/// What the file system says, with the path.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs_err::File::open(path)?.sync_all() } else { Ok(()) }
}

/// Removes what killed processes left half written in a folder; not in the folders below it. A folder that is not there
/// has no remains.
///
/// Only for whoever holds the lock of the folder: without it, these may be another process's work.
///
/// # Errors
/// What the file system says, with the path.
pub fn remove_remains(folder: &Path) -> io::Result<()> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(WRITING) {
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

/// A stream into a file that is whole or not there. The folder it is to lie in must exist.
///
/// Dropped without [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<std::fs::File>,
    temporary: Temporary,
    path: PathBuf,
}

impl AtomicFile {
    /// Begins to write what [`commit`](Self::commit) will put at `path`.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, temporary) = create_temporary(path).map_err(|error| cannot_write(path, &error))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// Makes the file durable and puts it in its place.
    ///
    /// # Errors
    /// What the file system says, with the path.
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

/// A file under a name that it is not to keep.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once renamed there is nothing to remove, and an error on the way out cannot be told to anyone.
        let _ = fs_err::remove_file(&self.0);
    }
}

/// Makes the names of files that are open at once in this process differ.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// A name beside `path` that no other writer of this process has.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = std::ffi::OsString::from(WRITING);
    temporary.push(name);
    temporary.push(format!(".{}-{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

fn create_temporary(path: &Path) -> io::Result<(std::fs::File, Temporary)> {
    loop {
        let temporary = temporary_path(path)?;
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            // Of a process that was killed, or of one that has the same number in another container.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return Ok((file?, Temporary(temporary))),
        }
    }
}

/// A folder that is whole or not there. Its files are written at [`path`](Self::path), each with the wait for the disk.
///
/// Dropped without [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFolder {
    temporary: TemporaryFolder,
    path: PathBuf,
}

impl AtomicFolder {
    /// Begins to fill what [`commit`](Self::commit) will put at `path`, where there may be an empty folder by then, but nothing
    /// else. The folders above are made as needed.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        create_folder_of(path)?;
        loop {
            let temporary = temporary_path(path)?;
            match fs_err::create_dir(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    return Ok(Self { temporary: TemporaryFolder(temporary), path: path.to_owned() });
                }
            }
        }
    }

    /// Where it is until then.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.temporary.0
    }

    /// Makes the names of its files durable and puts it in its place.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn commit(self) -> io::Result<()> {
        sync_folder(self.path())?;
        if self.path.is_dir() {
            fs_err::remove_dir(&self.path)?;
        }
        rename(self.path(), &self.path)
    }
}

/// A folder under a name that it is not to keep.
#[derive(Debug)]
struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Once renamed there is nothing to remove, and an error on the way out cannot be told to anyone.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// The error as that of the file that a user knows, not of the temporary one.
fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't write {}: {error}", path.display()))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for content in ["one", "two, longer", "3"] {
            write_atomically(&path, content.as_bytes()).unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn an_abandoned_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("above/folder");
        let folder = AtomicFolder::create(&path).unwrap();
        write_synced(&folder.path().join("a"), b"half").unwrap();
        drop(folder);
        assert!(names(&temp.path().join("above")).is_empty());

        fs_err::create_dir(&path).unwrap();
        let folder = AtomicFolder::create(&path).unwrap();
        write_synced(&folder.path().join("a"), b"whole").unwrap();
        folder.commit().unwrap();
        assert_eq!(names(&temp.path().join("above")), ["folder"]);
        assert_eq!(names(&path), ["a"]);

        let late = AtomicFolder::create(&path).unwrap();
        assert!(late.commit().unwrap_err().to_string().contains("above/folder"));
        assert_eq!(names(&temp.path().join("above")), ["folder"]);
        assert_eq!(names(&path), ["a"]);
    }

    #[test]
    fn writers_of_one_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut files = [0, 1].map(|_| AtomicFile::create(&path).unwrap());
        files[0].write_all(b"first").unwrap();
        files[1].write_all(b"second").unwrap();
        for (file, content) in files.into_iter().zip(["first", "second"]) {
            file.commit().unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-00000002.parquet");
        fs_err::write(folder.path().join("kept"), "").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        // Nobody drops it: so does a kill.
        std::mem::forget(file);
        fs_err::create_dir_all(folder.path().join(".writing-folder/below")).unwrap();
        assert_eq!(names(folder.path()).len(), 3);

        remove_remains(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["kept"]);
        remove_remains(&folder.path().join("nowhere")).unwrap();
    }

    #[test]
    fn remains_are_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let next = CREATED.load(Ordering::Relaxed);
        for number in next..next + 20 {
            let remains = format!("{WRITING}a.{}-{number}", std::process::id());
            fs_err::write(folder.path().join(remains), "of another").unwrap();
        }
        write_atomically(&path, b"mine").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"mine");
        let others: Vec<_> = names(folder.path()).into_iter().filter(|name| name != "a").collect();
        assert!(others.len() == 20, "{others:?}");
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/file");
        let error = write_atomically(&path, b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/file"), "{error}");
        assert_eq!(write_atomically(Path::new("/"), b"").unwrap_err().kind(), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn folders_are_made_as_needed() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b/c");
        create_folder_of(&deep.join("file")).unwrap();
        create_folder(&deep).unwrap();
        assert!(deep.is_dir());
        create_folder_of(Path::new("here")).unwrap();
        let file = temp.path().join("file");
        write_synced(&file, b"x").unwrap();
        let error = create_folder(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
        assert!(create_folder(&file).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("newest");
        for target in ["one", "two"] {
            fs_err::write(folder.path().join(target), target).unwrap();
            link_beside(&link, target).unwrap();
            assert_eq!(fs_err::read_to_string(&link).unwrap(), target);
        }
        assert_eq!(names(folder.path()), ["newest", "one", "two"]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it_as_far_as_the_users_mask_allows() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mode =
            |name: &str| fs_err::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs_err::write(folder.path().join("plain"), "").unwrap();
        write_atomically(&folder.path().join("atomic"), b"").unwrap();
        assert_eq!(mode("atomic"), mode("plain"));
    }
}
