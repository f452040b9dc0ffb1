//! Files and folders that survive a crash of the machine once a function here has returned.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file and waits for the disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until what is written to a file, or the names in a folder, are on the disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    fs_err::File::open(path)?.sync_all()
}

/// Replaces a file by another content: a reader, or a crash, sees the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let writing = path.with_added_extension("writing");
    write(&writing, bytes)?;
    rename(&writing, path)
}

/// Renames within one folder.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)?;
    to.parent().map_or(Ok(()), sync)
}
