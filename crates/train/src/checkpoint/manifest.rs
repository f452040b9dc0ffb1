//! The manifest of a checkpoint.

use std::io;
use std::path::Path;

use fineline_files::write_synced;
use fineline_layout::{CheckpointManifest, MANIFEST_FILE, ManifestError, UnsupportedSchema, find_damage};

use crate::checkpoint::format::to_pretty_json;
use crate::error::TrainError;

/// Writes the manifest into the directory of the checkpoint, which is complete from then on. Returns the size
/// of all files in bytes, with its own.
pub(crate) fn write_manifest(manifest: &CheckpointManifest, dir: &Path) -> io::Result<u64> {
    let bytes = to_pretty_json(manifest)?;
    write_synced(&dir.join(MANIFEST_FILE), &bytes)?;
    Ok(manifest.bytes() + bytes.len() as u64)
}

/// Checks every file of the checkpoint in `dir` against its manifest, sizes first.
///
/// # Errors
/// [`TrainError::Damaged`] with the first file that is missing or differs. [`TrainError::Io`] if a file can't
/// be read for another reason, such as missing permissions, and [`TrainError::UnsupportedSchema`] if the
/// checkpoint was written by a newer version. In both cases the checkpoint may be complete.
pub fn verify_checkpoint(dir: &Path) -> Result<(), TrainError> {
    if let Some(source) = newer_schema(dir)? {
        return Err(TrainError::UnsupportedSchema { path: dir.join(MANIFEST_FILE), source });
    }
    match find_damage(dir)? {
        Some(reason) => Err(TrainError::Damaged { path: dir.to_owned(), reason }),
        None => Ok(()),
    }
}

/// Returns the error of a manifest that was written by a newer version.
fn newer_schema(dir: &Path) -> io::Result<Option<UnsupportedSchema>> {
    let bytes = match fs_err::read(dir.join(MANIFEST_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    match CheckpointManifest::parse(&bytes) {
        Err(ManifestError::Schema(source)) => Ok(Some(source)),
        _ => Ok(None),
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

    /// A newer checkpoint must not be taken for a damaged one, which the run would abandon.
    #[test]
    fn a_checkpoint_of_a_newer_version_is_refused_by_name() {
        let temp = tempfile::tempdir().unwrap();
        fs_err::write(temp.path().join(MANIFEST_FILE), r#"{"schema": 2, "entries": []}"#).unwrap();
        let error = verify_checkpoint(temp.path()).unwrap_err();
        assert!(matches!(error, TrainError::UnsupportedSchema { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("manifest.json was written by a newer fineline"), "{message}");
    }
}
