//! The text of one source as a stream of documents.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::config::SourceConfig;
use crate::error::{DataError, Result};
use crate::text::documents::FileDocuments;
use crate::text::files::TextFile;
use crate::text::locate::{LocatedFiles, locate};

/// The text of one source: its files in natural order (`part-2` before `part-10`), read as a stream of
/// documents.
#[derive(Debug)]
pub struct TextSource {
    path: String,
    field: String,
    files: Vec<TextFile>,
    fingerprint: OnceLock<String>,
}

impl TextSource {
    /// Opens the text of a source. Returns `None` if the source consists of token shards.
    ///
    /// # Errors
    /// [`DataError::PathNotFound`], [`DataError::NoFiles`], [`DataError::UnknownFileType`] or
    /// [`DataError::MixedSource`] if the path doesn't lead to usable files, and [`DataError::Io`] if a
    /// directory cannot be read.
    pub fn open(config: &SourceConfig) -> Result<Option<Self>> {
        match locate(&config.path)? {
            LocatedFiles::Text(files) => Ok(Some(Self::new(config, files))),
            LocatedFiles::Shards(_) => Ok(None),
        }
    }

    pub(crate) fn new(config: &SourceConfig, files: Vec<TextFile>) -> Self {
        let (path, field) = (config.path.clone(), config.field.clone());
        Self { path, field, files, fingerprint: OnceLock::new() }
    }

    /// Returns the size of all files on disk in bytes.
    ///
    /// # Errors
    /// [`DataError::Io`] if the metadata of a file cannot be read.
    pub fn file_bytes(&self) -> Result<u64> {
        self.files.iter().map(|file| Ok(fs_err::metadata(&file.path)?.len())).sum()
    }

    /// Returns the BLAKE3 hash of everything that determines the documents: the contents and formats of the
    /// files in order, and the field.
    ///
    /// Paths are not hashed, so that a corpus can be moved. The files are read at most once.
    ///
    /// # Errors
    /// [`DataError::Io`] if a file cannot be read.
    pub fn fingerprint(&self) -> Result<&str> {
        if let Some(known) = self.fingerprint.get() {
            return Ok(known);
        }
        let computed = self.hash()?;
        Ok(self.fingerprint.get_or_init(|| computed))
    }

    fn hash(&self) -> Result<String> {
        let mut all = blake3::Hasher::new();
        all.update(self.field.as_bytes()).update(&[0]);
        for file in &self.files {
            let mut one = blake3::Hasher::new();
            one.update_reader(fs_err::File::open(&file.path)?)?;
            all.update(file.kind().as_bytes()).update(one.finalize().as_bytes());
        }
        Ok(all.finalize().to_hex().to_string())
    }

    /// Returns all documents that aren't empty, in order. Memory is bounded by the longest.
    #[must_use]
    pub fn documents(&self) -> TextDocuments<'_> {
        TextDocuments { source: self, next_file: 0, current: None, bytes_read: Arc::default(), seen: false }
    }
}

/// Iterator over the documents of a [`TextSource`]. It ends after an error.
#[derive(Debug)]
pub struct TextDocuments<'a> {
    source: &'a TextSource,
    next_file: usize,
    current: Option<FileDocuments>,
    bytes_read: Arc<AtomicU64>,
    seen: bool,
}

/// Bytes of text in memory, per thread.
const BATCH_BYTES: usize = 1 << 20;

impl TextDocuments<'_> {
    /// Returns the next documents, about as many as are worth tokenizing in parallel, or none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<String>> {
        let wanted = BATCH_BYTES * rayon::current_num_threads();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < wanted {
            let Some(document) = self.next().transpose()? else { break };
            bytes += document.len();
            batch.push(document);
        }
        Ok(batch)
    }

    /// Returns the number of bytes read from disk.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn next_document(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(documents) = &mut self.current {
                match documents.next_document()? {
                    Some(document) if document.is_empty() => continue,
                    Some(document) => return Ok(Some(document)),
                    None => self.current = None,
                }
            }
            let Some(file) = self.source.files.get(self.next_file) else { return Ok(None) };
            self.next_file += 1;
            self.current = Some(FileDocuments::open(file, &self.source.field, Arc::clone(&self.bytes_read))?);
        }
    }
}

impl Iterator for TextDocuments<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.next_document().transpose();
        match &document {
            Some(Ok(_)) => self.seen = true,
            Some(Err(_)) => self.next_file = self.source.files.len(),
            None if !self.seen => {
                // Returned once, as an error, because nothing can use a source without text.
                self.seen = true;
                let (path, files) = (self.source.path.clone(), self.source.files.len());
                return Some(Err(DataError::Empty { path, files }));
            }
            None => {}
        }
        if !matches!(document, Some(Ok(_))) {
            self.current = None;
        }
        document
    }
}
