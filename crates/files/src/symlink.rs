//! Symbolic links that are replaced atomically.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::durable::{TEMPORARY_PREFIX, rename};

/// Creates or replaces a symbolic link at `path` that points to `target` in the same directory.
///
/// # Errors
/// The error of the file system, with the path. [`io::ErrorKind::Unsupported`] on platforms other than Unix,
/// where creating links may need privileges.
pub fn replace_symlink(path: &Path, target: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = OsString::from(TEMPORARY_PREFIX);
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

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("newest");
        for target in ["one", "two"] {
            fs_err::write(dir.path().join(target), target).unwrap();
            replace_symlink(&link, target).unwrap();
            assert_eq!(fs_err::read_to_string(&link).unwrap(), target);
        }
        assert_eq!(names(dir.path()), ["newest", "one", "two"]);
    }
}
