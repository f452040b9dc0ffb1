use std::io;
use std::path::Path;

/// Bytes that whoever runs this program can still write to the disk that holds `folder`, or will: of folders that aren't there yet, the nearest above that
/// is counts.
///
/// # Errors
/// What the file system says, with the path.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let absolute = std::path::absolute(folder)?;
    let there = absolute.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    fs4::available_space(there).map_err(|error| {
        io::Error::new(error.kind(), format!("free space of `{}`: {error}", there.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_not_there_yet_have_the_room_of_their_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let free = free_space(folder.path()).expect("a disk");
        assert!(free > 0);
        let below = free_space(&folder.path().join("not/yet")).expect("a disk");
        // Others write to it too.
        assert!(below.abs_diff(free) < 1 << 30);
    }
}
