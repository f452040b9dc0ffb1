//! `manifest.json` of a checkpoint.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint_files::MANIFEST_FILE;
use crate::schema::{CHECKPOINT_SCHEMA, UnsupportedSchema, check_schema};

/// Every file of a checkpoint except the manifest itself, with its size and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// Version of the format: [`CHECKPOINT_SCHEMA`].
    pub schema: u32,
    /// The files, by name.
    pub files: BTreeMap<String, ManifestEntry>,
}

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash in hexadecimal.
    pub blake3: String,
}

/// Why bytes aren't a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// They aren't the JSON of a manifest.
    #[error("{MANIFEST_FILE} isn't a manifest ({0})")]
    Json(#[from] serde_json::Error),
    /// They are of a newer version.
    #[error("{MANIFEST_FILE} {0}")]
    Schema(#[from] UnsupportedSchema),
    /// They name a file that would be outside of the checkpoint.
    #[error("{MANIFEST_FILE} lists a file `{name}`, which isn't a plain file name")]
    FileName {
        /// The name.
        name: String,
    },
}

impl Default for CheckpointManifest {
    /// A manifest of no files.
    fn default() -> Self {
        Self { schema: CHECKPOINT_SCHEMA, files: BTreeMap::new() }
    }
}

impl CheckpointManifest {
    /// Computes the manifest of the files of these names in `dir`.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn of_files(dir: &Path, names: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for name in names {
            let entry = ManifestEntry::of_file(&dir.join(&name))?;
            files.insert(name, entry);
        }
        Ok(Self { schema: CHECKPOINT_SCHEMA, files })
    }

    /// Parses a manifest. Its content isn't trusted: file names that lead out of the checkpoint's directory
    /// are refused.
    ///
    /// # Errors
    /// [`ManifestError`], by what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        // The version comes first: a newer format may have other fields.
        let Versioned { schema } = serde_json::from_slice(bytes)?;
        check_schema(schema, CHECKPOINT_SCHEMA)?;
        let manifest: Self = serde_json::from_slice(bytes)?;
        match manifest.files.keys().find(|name| !is_plain_file_name(name)) {
            Some(name) => Err(ManifestError::FileName { name: name.clone() }),
            None => Ok(manifest),
        }
    }

    /// Returns the total size of the files in bytes, without the manifest's own.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

impl ManifestEntry {
    /// Computes the entry of the file at `path`.
    ///
    /// # Errors
    /// An I/O error, with the path.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut file = fs_err::File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            };
        }
        Ok(Self::of_hashed(&hasher))
    }

    /// Returns the entry of bytes that were hashed while they were copied.
    #[must_use]
    pub fn of_hashed(hasher: &blake3::Hasher) -> Self {
        Self { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() }
    }
}

/// Whether a name stays in the directory that it is joined to, and isn't hidden or the manifest's own.
#[must_use]
pub fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.contains(['/', '\\', ':', '\0'])
        && name != MANIFEST_FILE
}

/// Compares the files of the checkpoint in `dir` with its manifest, sizes first. Returns the first
/// difference, or `None` if the checkpoint is complete. Files that the manifest doesn't list are ignored.
///
/// # Errors
/// A file that can't be read for a reason other than being absent, such as missing permissions. This doesn't
/// mean that the checkpoint is damaged.
pub fn find_damage(dir: &Path) -> io::Result<Option<String>> {
    let Some(bytes) = if_exists(fs_err::read(dir.join(MANIFEST_FILE)))? else {
        return Ok(Some(format!("{MANIFEST_FILE} is missing")));
    };
    let manifest = match CheckpointManifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Some(error.to_string())),
    };
    for compare in [compare_size, compare_content] {
        for (name, expected) in &manifest.files {
            let difference = compare(&dir.join(name), name, expected)?;
            if difference.is_some() {
                return Ok(difference);
            }
        }
    }
    Ok(None)
}

fn compare_size(path: &Path, name: &str, expected: &ManifestEntry) -> io::Result<Option<String>> {
    let Some(found) = if_exists(fs_err::metadata(path))? else {
        return Ok(Some(format!("{name} is missing")));
    };
    let (found, expected) = (found.len(), expected.bytes);
    Ok((found != expected).then(|| format!("{name} has {found} bytes instead of {expected}")))
}

fn compare_content(path: &Path, name: &str, expected: &ManifestEntry) -> io::Result<Option<String>> {
    let Some(found) = if_exists(ManifestEntry::of_file(path))? else {
        return Ok(Some(format!("{name} is missing")));
    };
    Ok((found != *expected).then(|| format!("the content of {name} has changed (its BLAKE3 hash differs)")))
}

/// Returns `None` if the file doesn't exist.
fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a"), "some bytes").unwrap();
        fs_err::write(dir.path().join("empty"), "").unwrap();
        let manifest =
            CheckpointManifest::of_files(dir.path(), ["a".to_owned(), "empty".to_owned()]).unwrap();
        assert_eq!(manifest.bytes(), 10);
        fs_err::write(dir.path().join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        dir
    }

    #[test]
    fn a_complete_checkpoint_has_no_damage() {
        let dir = checkpoint();
        assert_eq!(find_damage(dir.path()).unwrap(), None);
        fs_err::write(dir.path().join("NOTES.md"), "a file that the user put there").unwrap();
        assert_eq!(find_damage(dir.path()).unwrap(), None);
    }

    #[test]
    fn damage_is_named() {
        let damage = |spoil: &dyn Fn(&Path)| {
            let dir = checkpoint();
            spoil(dir.path());
            find_damage(dir.path()).unwrap().unwrap()
        };
        let message = damage(&|dir| fs_err::write(dir.join("a"), "some byteZ").unwrap());
        assert!(message.contains("content of a has changed"), "{message}");
        let message = damage(&|dir| fs_err::write(dir.join("a"), "some").unwrap());
        assert!(message.contains("a has 4 bytes instead of 10"), "{message}");
        let message = damage(&|dir| fs_err::remove_file(dir.join("empty")).unwrap());
        assert!(message.contains("empty is missing"), "{message}");
        let message = damage(&|dir| fs_err::remove_file(dir.join(MANIFEST_FILE)).unwrap());
        assert!(message.contains("manifest.json is missing"), "{message}");
        let message = damage(&|dir| fs_err::write(dir.join(MANIFEST_FILE), "{\"files\":").unwrap());
        assert!(message.contains("manifest.json isn't a manifest"), "{message}");
        let newer = "{\"schema\": 2, \"entries\": []}";
        let message = damage(&|dir| fs_err::write(dir.join(MANIFEST_FILE), newer).unwrap());
        assert!(message.contains("manifest.json has schema 2"), "{message}");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let parse = |name: &str| {
            let files = serde_json::json!({name: {"bytes": 1, "blake3": "00"}});
            let text = serde_json::json!({"schema": 1, "files": files}).to_string();
            CheckpointManifest::parse(text.as_bytes()).map(|manifest| manifest.bytes())
        };
        assert_eq!(parse("model.safetensors").unwrap(), 1);
        for name in ["../run.json", "a/b", "", ".lock", "..", "C:x", "manifest.json"] {
            assert!(parse(name).unwrap_err().to_string().contains("isn't a plain file name"), "{name}");
        }
    }

    /// A link to itself can't be read even by root.
    #[cfg(unix)]
    #[test]
    fn a_file_that_cannot_be_read_is_not_damage() {
        for file in ["a", MANIFEST_FILE] {
            let dir = checkpoint();
            let path = dir.path().join(file);
            fs_err::remove_file(&path).unwrap();
            fs_err::os::unix::fs::symlink(file, &path).unwrap();
            let error = find_damage(dir.path()).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}
