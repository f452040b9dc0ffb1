//! Downloads of a run from a store.

use std::io::Write;
use std::path::Path;

use fineline_files::{AtomicFile, create_parent_directory, write_synced};
use fineline_layout::{
    CHECKPOINTS_DIR, CheckpointManifest, MANIFEST_FILE, ManifestEntry, RUN_FILE, parse_step_name,
    remote_checkpoint_path,
};

use crate::error::StorageError;
use crate::files::is_run_file;
use crate::store::Store;

/// Attempts to read an object that is damaged or fails to arrive.
const ATTEMPTS: u32 = 4;

/// A run in a store.
pub struct RemoteRun {
    store: Store,
}

impl RemoteRun {
    /// Creates a reader of the run in this store, which need not contain one.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads the run's `run.json`. Returns `None` if no run was uploaded.
    ///
    /// # Errors
    /// Returns [`StorageError::Store`] if the store can't be read, and [`StorageError::Damaged`] if the
    /// object doesn't match its hash.
    pub fn identity(&self) -> Result<Option<Vec<u8>>, StorageError> {
        with_retries(|| self.store.get(RUN_FILE))
    }

    /// Lists the steps of the complete checkpoints, ascending.
    ///
    /// # Errors
    /// Returns [`StorageError::Store`] if the store can't be read.
    pub fn steps(&self) -> Result<Vec<u64>, StorageError> {
        with_retries(|| self.whole_steps())
    }

    fn whole_steps(&self) -> Result<Vec<u64>, StorageError> {
        let objects = self.store.list(CHECKPOINTS_DIR)?;
        let step = |key: &str| {
            let (name, file) = key.strip_prefix(CHECKPOINTS_DIR)?.strip_prefix('/')?.split_once('/')?;
            parse_step_name(name).filter(|_| file == MANIFEST_FILE)
        };
        let mut steps: Vec<u64> = objects.iter().filter_map(|object| step(&object.key)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Downloads a checkpoint into an existing, empty directory. Every file is verified against the manifest,
    /// which is written last.
    ///
    /// # Errors
    /// Returns [`StorageError::Damaged`] if a file doesn't match the manifest after several attempts,
    /// [`StorageError::Store`] if the store can't be read, and [`StorageError::Io`] if a file can't be
    /// written.
    pub fn fetch_checkpoint(&self, step: u64, dir: &Path) -> Result<(), StorageError> {
        let remote = remote_checkpoint_path(step);
        let key = format!("{remote}/{MANIFEST_FILE}");
        let damaged = |reason: String| StorageError::Damaged { url: self.store.url(&key), reason };
        let bytes = with_retries(|| self.store.get(&key))?
            .ok_or_else(|| damaged("the manifest is missing".to_owned()))?;
        let manifest = CheckpointManifest::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        tracing::info!("downloading {} bytes of {}", manifest.bytes(), self.store.url(&remote));
        for (name, entry) in &manifest.files {
            with_retries(|| self.fetch_file(&format!("{remote}/{name}"), &dir.join(name), entry))?;
        }
        Ok(write_synced(&dir.join(MANIFEST_FILE), &bytes)?)
    }

    fn fetch_file(&self, key: &str, path: &Path, expected: &ManifestEntry) -> Result<(), StorageError> {
        let damaged =
            |reason: &str| StorageError::Damaged { url: self.store.url(key), reason: reason.to_owned() };
        let mut file = HashingFile { file: fs_err::File::create(path)?, hasher: blake3::Hasher::new() };
        if !self.store.download(key, &mut file)? {
            return Err(damaged("the object is missing, but the manifest lists it"));
        }
        let found = ManifestEntry::of_hashed(&file.hasher);
        if found != *expected {
            return Err(damaged("size or BLAKE3 hash differs from the manifest"));
        }
        Ok(file.file.sync_all()?)
    }

    /// Downloads the run's files other than its checkpoints into its directory. Each is written atomically.
    ///
    /// # Errors
    /// Returns [`StorageError::Store`] or [`StorageError::Damaged`] if an object can't be read, and
    /// [`StorageError::Io`] if a file can't be written.
    pub fn fetch_files(&self, root: &Path) -> Result<(), StorageError> {
        for object in self.store.list("")?.iter().filter(|object| is_run_file(&object.key)) {
            let path = root.join(&object.key);
            create_parent_directory(&path)?;
            with_retries(|| {
                let mut file = AtomicFile::create(&path)?;
                self.store.download(&object.key, &mut file)?;
                Ok(file.commit()?)
            })?;
        }
        Ok(())
    }
}

/// Retries a few times, since transfers can fail or be damaged in transit.
fn with_retries<T>(mut fetch: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
    for _ in 1..ATTEMPTS {
        match fetch() {
            Err(error @ (StorageError::Store { .. } | StorageError::Damaged { .. })) => {
                tracing::info!("retrying: {}", error.with_causes());
            }
            fetched => return fetched,
        }
    }
    fetch()
}

struct HashingFile {
    file: fs_err::File,
    hasher: blake3::Hasher,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
