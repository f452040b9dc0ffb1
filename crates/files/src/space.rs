//! Free disk space.

use std::io;
use std::path::Path;

/// Returns the number of bytes that this process may still write to the file system of a directory.
///
/// If the directory doesn't exist yet, its nearest existing parent is used.
///
/// # Errors
/// The error of the file system, with the path.
pub fn free_space(dir: &Path) -> io::Result<u64> {
    let absolute = std::path::absolute(dir)?;
    let existing = absolute.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    fs4::available_space(existing).map_err(|error| {
        io::Error::new(error.kind(), format!("free space of `{}`: {error}", existing.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_has_the_free_space_of_its_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let free = free_space(dir.path()).expect("a disk");
        assert!(free > 0);
        let below = free_space(&dir.path().join("not/yet")).expect("a disk");
        // Other processes write to the disk too.
        assert!(below.abs_diff(free) < 1 << 30);
    }
}
