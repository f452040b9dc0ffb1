use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The name of the file that a checkpoint is whole with.
pub(crate) const MANIFEST: &str = "manifest.json";

/// `manifest.json`: every other file of a checkpoint. Written last, so where it is and agrees, the checkpoint is whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub(crate) fn of(folder: &Path, names: impl IntoIterator<Item = String>) -> std::io::Result<Self> {
        let entry = |name: String| Ok((name.clone(), FileEntry::of(&folder.join(name))?));
        Ok(Self { files: names.into_iter().map(entry).collect::<std::io::Result<_>>()? })
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

impl FileEntry {
    fn of(path: &Path) -> std::io::Result<Self> {
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
/// [`TrainError::Damaged`] with the first file that is missing or differs.
pub fn verify(folder: &Path) -> Result<(), TrainError> {
    find_damage(folder).map_or(Ok(()), |reason| Err(TrainError::Damaged { path: folder.to_owned(), reason }))
}

fn find_damage(folder: &Path) -> Option<String> {
    let manifest = match fs_err::read(folder.join(MANIFEST)) {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("{MANIFEST} cannot be read ({error})")),
    };
    let manifest: Manifest = match serde_json::from_slice(&manifest) {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("{MANIFEST} is no manifest ({error})")),
    };
    let wrong_size =
        manifest.files.iter().find_map(|(name, expected)| match fs_err::metadata(folder.join(name)) {
            Ok(found) if found.len() == expected.bytes => None,
            Ok(found) => Some(format!("{name} has {} bytes instead of {}", found.len(), expected.bytes)),
            Err(error) => Some(format!("{name} cannot be read ({error})")),
        });
    wrong_size.or_else(|| {
        manifest.files.iter().find_map(|(name, expected)| match FileEntry::of(&folder.join(name)) {
            Ok(found) if found == *expected => None,
            Ok(_) => Some(format!("the content of {name} has changed (its BLAKE3 hash differs)")),
            Err(error) => Some(format!("{name} cannot be read ({error})")),
        })
    })
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
        verify(folder.path()).unwrap();
        fs_err::write(folder.path().join("NOTES.md"), "a file that the user put there").unwrap();
        verify(folder.path()).unwrap();
    }

    #[test]
    fn damage_is_named() {
        let damage = |spoil: &dyn Fn(&Path)| {
            let folder = checkpoint();
            spoil(folder.path());
            verify(folder.path()).unwrap_err().to_string()
        };
        let message = damage(&|folder| fs_err::write(folder.join("a"), "some byteZ").unwrap());
        assert!(message.contains("content of a has changed"), "{message}");
        let message = damage(&|folder| fs_err::write(folder.join("a"), "some").unwrap());
        assert!(message.contains("a has 4 bytes instead of 10"), "{message}");
        let message = damage(&|folder| fs_err::remove_file(folder.join("empty")).unwrap());
        assert!(message.contains("empty cannot be read"), "{message}");
        let message = damage(&|folder| fs_err::remove_file(folder.join(MANIFEST)).unwrap());
        assert!(message.contains("manifest.json cannot be read"), "{message}");
        let message = damage(&|folder| fs_err::write(folder.join(MANIFEST), "{\"files\":").unwrap());
        assert!(message.contains("manifest.json is no manifest"), "{message}");
    }
}
