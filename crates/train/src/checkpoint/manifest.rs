//! The manifest of a checkpoint.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use fineline_files::write_synced;
use serde::{Deserialize, Serialize};

use crate::checkpoint::format::to_pretty_json;
use crate::error::TrainError;

/// The name of the file that a checkpoint is whole with.
pub(crate) const MANIFEST: &str = "manifest.json";

/// `manifest.json`: every other file of a checkpoint. Written last, so where it is and agrees, the checkpoint
/// is whole.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: BTreeMap<String, FileEntry>,
}

/// Size and hash of one file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

impl Manifest {
    /// Of the files of these names in `folder`.
    pub(crate) fn of(folder: &Path, names: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let entry = |name: String| Ok((name.clone(), FileEntry::of(&folder.join(name))?));
        Ok(Self { files: names.into_iter().map(entry).collect::<io::Result<_>>()? })
    }

    /// Writes it into `folder`, whose files it lists: then the checkpoint is whole. Gives the bytes of all,
    /// with its own.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<u64> {
        let bytes = to_pretty_json(self)?;
        write_synced(&folder.join(MANIFEST), &bytes)?;
        Ok(self.bytes() + bytes.len() as u64)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

impl FileEntry {
    fn of(path: &Path) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut file = fs_err::File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            };
        }
        Ok(Self { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
    }
}

/// Checks every file of the checkpoint in `folder` against its manifest, sizes first.
///
/// # Errors
/// [`TrainError::Damaged`] with the first file that is missing or differs. [`TrainError::Io`] if a file could
/// not be read for another reason, such as a right that is lacking: that says nothing of the checkpoint,
/// which may be whole.
pub fn verify_checkpoint(folder: &Path) -> Result<(), TrainError> {
    match find_damage(folder)? {
        Some(reason) => Err(TrainError::Damaged { path: folder.to_owned(), reason }),
        None => Ok(()),
    }
}

fn find_damage(folder: &Path) -> io::Result<Option<String>> {
    let Some(bytes) = if_there(fs_err::read(folder.join(MANIFEST)))? else {
        return Ok(Some(format!("{MANIFEST} is missing")));
    };
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Some(format!("{MANIFEST} is no manifest ({error})"))),
    };
    for difference in [size_differs, content_differs] {
        for (name, expected) in &manifest.files {
            let difference = difference(&folder.join(name), name, expected)?;
            if difference.is_some() {
                return Ok(difference);
            }
        }
    }
    Ok(None)
}

fn size_differs(path: &Path, name: &str, expected: &FileEntry) -> io::Result<Option<String>> {
    let Some(found) = if_there(fs_err::metadata(path))? else {
        return Ok(Some(format!("{name} is missing")));
    };
    let (found, expected) = (found.len(), expected.bytes);
    Ok((found != expected).then(|| format!("{name} has {found} bytes instead of {expected}")))
}

fn content_differs(path: &Path, name: &str, expected: &FileEntry) -> io::Result<Option<String>> {
    let Some(found) = if_there(FileEntry::of(path))? else { return Ok(Some(format!("{name} is missing"))) };
    Ok((found != *expected).then(|| format!("the content of {name} has changed (its BLAKE3 hash differs)")))
}

/// What was read; `None` if there is no such file.
fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("a"), "some bytes").unwrap();
        fs_err::write(folder.path().join("empty"), "").unwrap();
        let manifest = Manifest::of(folder.path(), ["a".to_owned(), "empty".to_owned()]).unwrap();
        assert_eq!(manifest.bytes(), 10);
        fs_err::write(folder.path().join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        folder
    }

    #[test]
    fn a_whole_checkpoint_has_no_damage() {
        let folder = checkpoint();
        verify_checkpoint(folder.path()).unwrap();
        fs_err::write(folder.path().join("NOTES.md"), "a file that the user put there").unwrap();
        verify_checkpoint(folder.path()).unwrap();
    }

    #[test]
    fn damage_is_named() {
        let damage = |spoil: &dyn Fn(&Path)| {
            let folder = checkpoint();
            spoil(folder.path());
            verify_checkpoint(folder.path()).unwrap_err().to_string()
        };
        let message = damage(&|folder| fs_err::write(folder.join("a"), "some byteZ").unwrap());
        assert!(message.contains("content of a has changed"), "{message}");
        let message = damage(&|folder| fs_err::write(folder.join("a"), "some").unwrap());
        assert!(message.contains("a has 4 bytes instead of 10"), "{message}");
        let message = damage(&|folder| fs_err::remove_file(folder.join("empty")).unwrap());
        assert!(message.contains("empty is missing"), "{message}");
        let message = damage(&|folder| fs_err::remove_file(folder.join(MANIFEST)).unwrap());
        assert!(message.contains("manifest.json is missing"), "{message}");
        let message = damage(&|folder| fs_err::write(folder.join(MANIFEST), "{\"files\":").unwrap());
        assert!(message.contains("manifest.json is no manifest"), "{message}");
    }
    /// A link to itself is what cannot be read even by root.
    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_no_damage() {
        for file in ["a", MANIFEST] {
            let folder = checkpoint();
            let path = folder.path().join(file);
            fs_err::remove_file(&path).unwrap();
            fs_err::os::unix::fs::symlink(file, &path).unwrap();
            let error = verify_checkpoint(folder.path()).unwrap_err();
            assert!(matches!(error, TrainError::Io(_)), "{error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}
