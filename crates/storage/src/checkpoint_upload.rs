//! The upload of one checkpoint.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fineline_layout::{CheckpointManifest, MANIFEST_FILE, ManifestEntry, remote_checkpoint_path};
use fs_err as fs;

use crate::error::StorageError;
use crate::store::{ObjectContent, Store};

/// A checkpoint with open files, so that it can be uploaded even if its directory is removed meanwhile.
pub(crate) struct CheckpointUpload {
    pub(crate) step: u64,
    dir: PathBuf,
    manifest: Vec<u8>,
    files: Vec<OpenFile>,
    /// Names of the files that earlier attempts have uploaded.
    sent: BTreeSet<String>,
}

struct OpenFile {
    name: String,
    entry: ManifestEntry,
    file: fs::File,
    path: PathBuf,
}

impl CheckpointUpload {
    /// Opens the files named in the checkpoint's manifest.
    pub(crate) fn open(step: u64, dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join(MANIFEST_FILE);
        let manifest = fs::read(&path)?;
        let parsed = CheckpointManifest::parse(&manifest)
            .map_err(|error| StorageError::NoManifest { path, reason: error.to_string() })?;
        let open_file = |(name, entry): (String, ManifestEntry)| {
            let path = dir.join(&name);
            Ok(OpenFile { file: fs::File::open(&path)?, name, entry, path })
        };
        let files = parsed.files.into_iter().map(open_file).collect::<std::io::Result<_>>()?;
        Ok(Self { step, dir: dir.to_owned(), manifest, files, sent: BTreeSet::new() })
    }

    /// Returns whether the checkpoint's directory still exists.
    pub(crate) fn is_kept(&self) -> bool {
        self.dir.is_dir()
    }

    /// Total size of the files in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.entry.bytes).sum::<u64>() + self.manifest.len() as u64
    }

    /// Returns whether the store has this checkpoint complete.
    pub(crate) fn is_uploaded(&self, store: &Store) -> Result<bool, StorageError> {
        let key = format!("{}/{MANIFEST_FILE}", remote_checkpoint_path(self.step));
        Ok(store.get(&key)?.is_some_and(|there| there == self.manifest))
    }

    /// Uploads the missing files, then the manifest. Verifies the sizes of all files before writing the
    /// manifest, and the bytes of the manifest after writing it.
    pub(crate) fn send(&mut self, store: &Store) -> Result<(), StorageError> {
        let dir = remote_checkpoint_path(self.step);
        let manifest_key = format!("{dir}/{MANIFEST_FILE}");
        // A rewound run may reach the same step twice. While the files of the earlier checkpoint are
        // replaced, it must not count as complete.
        if self.sent.is_empty() {
            store.remove(&manifest_key)?;
        }
        for file in &mut self.files {
            if !self.sent.contains(&file.name) {
                let key = format!("{dir}/{}", file.name);
                let blake3 = file.entry.blake3.clone();
                store.put(&key, &mut FileContent::new(file), &blake3)?;
                self.sent.insert(file.name.clone());
            }
        }
        self.check_sizes(store, &dir)?;
        let blake3 = blake3::hash(&self.manifest).to_hex().to_string();
        store.put(&manifest_key, &mut Bytes::from(self.manifest.clone()), &blake3)?;
        let there = store.get(&manifest_key);
        if there.as_ref().is_ok_and(|there| there.as_deref() == Some(&self.manifest)) {
            return Ok(());
        }
        store.remove(&manifest_key)?;
        there?;
        let reason = "the object read back differs from what was written (BLAKE3 hash mismatch)".to_owned();
        Err(StorageError::Damaged { url: store.url(&manifest_key), reason })
    }

    /// Checks that every file is in the store with its size. The next attempt uploads the others again.
    fn check_sizes(&mut self, store: &Store, dir: &str) -> Result<(), StorageError> {
        let listed = store.list(dir)?;
        for file in &self.files {
            let key = format!("{dir}/{}", file.name);
            let there = listed.iter().find(|object| object.key == key).map(|object| object.bytes);
            if there != Some(file.entry.bytes) {
                self.sent.remove(&file.name);
                let there =
                    there.map_or_else(|| "is missing".to_owned(), |bytes| format!("has {bytes} bytes"));
                let reason = format!("the object {there} after {} bytes were written", file.entry.bytes);
                return Err(StorageError::Damaged { url: store.url(&key), reason });
            }
        }
        Ok(())
    }
}

/// A file read at its own position, so that every attempt starts from its beginning.
struct FileContent<'a> {
    file: &'a mut OpenFile,
    position: u64,
}

impl<'a> FileContent<'a> {
    fn new(file: &'a mut OpenFile) -> Self {
        Self { file, position: 0 }
    }
}

impl ObjectContent for FileContent<'_> {
    fn bytes(&self) -> u64 {
        self.file.entry.bytes
    }

    fn read(&mut self, length: usize) -> std::io::Result<Bytes> {
        use std::io::{Seek, SeekFrom};

        self.file.file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::with_capacity(length);
        (&mut self.file.file).take(length as u64).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        if bytes.len() < length && self.position != self.file.entry.bytes {
            let message = format!("{} ends after {} bytes", self.file.path.display(), self.position);
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message));
        }
        Ok(bytes.into())
    }
}
