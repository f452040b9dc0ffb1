//! The manifest of a checkpoint.

use std::io;
use std::path::Path;

use fineline_files::write_synced;
use fineline_layout::{CheckpointManifest, MANIFEST_FILE, find_damage};

use crate::checkpoint::format::to_pretty_json;
use crate::error::TrainError;

/// Writes the manifest into the directory of the checkpoint, which is complete from then on. Returns the size of all
/// files in bytes, with its own.
pub(crate) fn write_manifest(manifest: &CheckpointManifest, dir: &Path) -> io::Result<u64> {
    let bytes = to_pretty_json(manifest)?;
    write_synced(&dir.join(MANIFEST_FILE), &bytes)?;
    Ok(manifest.bytes() + bytes.len() as u64)
}

/// Checks every file of the checkpoint in `dir` against its manifest, sizes first.
///
/// # Errors
/// [`TrainError::Damaged`] with the first file that is missing or differs. [`TrainError::Io`] if a file can't be read
/// for another reason, such as missing permissions. The checkpoint may then be complete.
pub fn verify_checkpoint(dir: &Path) -> Result<(), TrainError> {
    match find_damage(dir)? {
        Some(reason) => Err(TrainError::Damaged { path: dir.to_owned(), reason }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_not_an_error_of_the_file_system() {
        let temp = tempfile::tempdir().unwrap();
        fs_err::write(temp.path().join("a"), "some bytes").unwrap();
        let manifest = CheckpointManifest::of_files(temp.path(), ["a".to_owned()]).unwrap();
        assert!(write_manifest(&manifest, temp.path()).unwrap() > 10);
        verify_checkpoint(temp.path()).unwrap();
        fs_err::write(temp.path().join("a"), "some byteZ").unwrap();
        assert!(matches!(verify_checkpoint(temp.path()).unwrap_err(), TrainError::Damaged { .. }));
        #[cfg(unix)]
        {
            fs_err::remove_file(temp.path().join("a")).unwrap();
            fs_err::os::unix::fs::symlink("a", temp.path().join("a")).unwrap();
            assert!(matches!(verify_checkpoint(temp.path()).unwrap_err(), TrainError::Io(_)));
        }
    }
}
