//! Writing of shards.

use std::io::Write;
use std::path::{Path, PathBuf};

use fineline_files::{AtomicFile, create_parent_directory};

use crate::error::{DataError, Result};
use crate::shards::format::{MAGIC, TokenType, VERSION, bin_path, idx_path};

/// Writer of a shard, document by document. The shard appears when [`finish`](Self::finish) succeeds.
///
/// It takes four bytes of memory per document.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    prefix: PathBuf,
    bin: AtomicFile,
    token_type: TokenType,
    sizes: Vec<i32>,
    tokens: u64,
    max_token_id: u32,
    bytes: Vec<u8>,
}

/// Totals of a finished shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardTotals {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
    pub(crate) max_token_id: u32,
}

impl ShardWriter {
    pub(crate) fn create(prefix: &Path, vocab_size: usize) -> Result<Self> {
        create_parent_directory(prefix)?;
        Ok(Self {
            prefix: prefix.to_owned(),
            bin: AtomicFile::create(&bin_path(prefix))?,
            token_type: TokenType::for_vocab(vocab_size),
            sizes: Vec::new(),
            tokens: 0,
            max_token_id: 0,
            bytes: Vec::new(),
        })
    }

    /// Appends a document, including BOS and EOS.
    pub(crate) fn push(&mut self, document: &[u32]) -> Result<()> {
        let size = i32::try_from(document.len());
        self.sizes.push(size.map_err(|_| DataError::LongDocument { tokens: document.len() })?);
        self.tokens += document.len() as u64;
        self.bytes.clear();
        for &id in document {
            self.max_token_id = self.max_token_id.max(id);
            // The type was selected for the vocabulary of these ids.
            match self.token_type {
                TokenType::U16 => self.bytes.extend((id as u16).to_le_bytes()),
                _ => self.bytes.extend(id.cast_signed().to_le_bytes()),
            }
        }
        Ok(self.bin.write_all(&self.bytes)?)
    }

    pub(crate) fn documents(&self) -> u64 {
        self.sizes.len() as u64
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Syncs the shard and puts it at its path, the index last.
    pub(crate) fn finish(self) -> Result<ShardTotals> {
        let mut idx = AtomicFile::create(&idx_path(&self.prefix))?;
        self.write_index(&mut idx)?;
        // An existing index belongs to another `.bin` file.
        match fs_err::remove_file(idx_path(&self.prefix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        self.bin.commit()?;
        idx.commit()?;
        let documents = self.sizes.len() as u64;
        Ok(ShardTotals { documents, tokens: self.tokens, max_token_id: self.max_token_id })
    }

    fn write_index(&self, out: &mut impl Write) -> std::io::Result<()> {
        let documents = self.sizes.len() as u64;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&[self.token_type.code()])?;
        out.write_all(&documents.to_le_bytes())?;
        out.write_all(&(documents + 1).to_le_bytes())?;
        for size in &self.sizes {
            out.write_all(&size.to_le_bytes())?;
        }
        let mut offset = 0_u64;
        for &size in &self.sizes {
            out.write_all(&offset.to_le_bytes())?;
            offset += u64::from(size.unsigned_abs()) * self.token_type.width() as u64;
        }
        for document in 0..=documents {
            out.write_all(&document.to_le_bytes())?;
        }
        Ok(())
    }
}
