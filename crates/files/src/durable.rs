//! Single steps of durable file operations: each waits until the disk has what it wrote.

use std::io::{self, Write};
use std::path::Path;

/// Prefix of the names of files and directories that are being written.
///
/// A file with this prefix that no running process writes is what a killed process left, and may be
/// incomplete.
pub const TEMPORARY_PREFIX: &str = ".writing-";

/// Writes a file at its final path and syncs it.
///
/// # Errors
/// The error of the file system, with the path. An incomplete file may remain.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Creates a directory with its parents, and syncs the names of those that were missing.
///
/// A directory that exists already is left as it is.
///
/// # Errors
/// The error of the file system, with the path.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.is_dir();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    fs_err::create_dir_all(path)?;
    missing.into_iter().try_for_each(|dir| sync_directory(parent_of(dir)))
}

/// Creates the parent directory of a file, as [`create_directory`] does.
///
/// # Errors
/// The error of the file system, with the path.
pub fn create_parent_directory(file: &Path) -> io::Result<()> {
    create_directory(parent_of(file))
}

/// Renames a file or directory whose content is synced, and syncs the new parent directory.
///
/// # Errors
/// The error of the file system, with the path.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)?;
    sync_directory(parent_of(to))
}

/// Syncs the names in a directory.
///
/// Does nothing on platforms other than Unix, where a directory cannot be opened for this and need not be.
///
/// # Errors
/// The error of the file system, with the path.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs_err::File::open(path)?.sync_all() } else { Ok(()) }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_are_created() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b/c");
        create_parent_directory(&deep.join("file")).unwrap();
        create_directory(&deep).unwrap();
        assert!(deep.is_dir());
        create_parent_directory(Path::new("here")).unwrap();
        let file = temp.path().join("file");
        write_synced(&file, b"x").unwrap();
        let error = create_directory(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
        assert!(create_directory(&file).is_err());
    }
}
