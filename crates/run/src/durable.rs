//! Folders whose names survive a crash of the machine.

use std::io;
use std::path::Path;

use fs_err as fs;

/// Makes a folder and those above it, and waits until their names are on the disk. One that is there is left alone.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent != path {
        create_folder(parent)?;
    }
    match fs::create_dir(path) {
        // Another process was quicker.
        Err(_) if path.is_dir() => {}
        created => created?,
    }
    sync_folder(parent)
}

/// Waits until the names in a folder are on the disk. Elsewhere than on Unix a folder cannot be opened, and need not be.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}
