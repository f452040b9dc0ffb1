//! One shard.

use std::ops::Range;
use std::path::Path;

use fs_err::File;
use memmap2::Mmap;
use rayon::prelude::*;

use crate::error::{DataError, Result};
use crate::sampled_hash::hash_sampled;
use crate::shards::format::{TokenType, bin_path, idx_path};
use crate::shards::index::ShardIndex;

/// A memory-mapped shard.
#[derive(Debug)]
pub(crate) struct Shard {
    index: ShardIndex,
    bin: Mmap,
}

impl Shard {
    pub(crate) fn open(prefix: &Path) -> Result<Self> {
        let index = ShardIndex::open(&idx_path(prefix))?;
        let path = bin_path(prefix);
        let file = File::open(&path)?;
        let found = file.metadata()?.len();
        if found != index.bin_bytes() {
            return Err(DataError::TruncatedShard { path, expected: index.bin_bytes(), found });
        }
        // SAFETY: as for the index: complete when it appears, not modified afterwards, not truncated while in
        // use.
        #[allow(unsafe_code, reason = "a corpus is larger than memory")]
        let bin = unsafe { Mmap::map(file.file()) }?;
        Ok(Self { index, bin })
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.bin.len() as u64 / self.index.token_type.width() as u64
    }

    pub(crate) fn documents(&self) -> u64 {
        self.index.documents()
    }

    /// Returns the first token of a document, or the number of tokens for the index after the last document.
    pub(crate) fn document_start(&self, document: u64) -> u64 {
        self.index.document_start(document)
    }

    /// Appends the tokens of a range to `out`.
    pub(crate) fn copy(&self, range: Range<u64>, out: &mut Vec<u32>) {
        let width = self.index.token_type.width();
        decode(
            self.index.token_type,
            &self.bin[range.start as usize * width..range.end as usize * width],
            out,
        );
    }

    /// Returns the largest token id. Reads the whole shard.
    pub(crate) fn max_token_id(&self) -> u32 {
        let largest = |bytes: &[u8]| {
            let mut tokens = Vec::with_capacity(bytes.len() / self.index.token_type.width());
            decode(self.index.token_type, bytes, &mut tokens);
            tokens.into_iter().max().unwrap_or(0)
        };
        self.bin.par_chunks(1 << 20).map(largest).max().unwrap_or(0)
    }
}

/// Decodes tokens. Ids that fit no vocabulary (negative or longer than 32 bits) become `u32::MAX`, which
/// [`Shard::max_token_id`] then returns.
fn decode(token_type: TokenType, bytes: &[u8], out: &mut Vec<u32>) {
    match token_type {
        TokenType::U8 => out.extend(bytes.iter().map(|&id| u32::from(id))),
        TokenType::U16 => out.extend(bytes.as_chunks().0.iter().map(|&id| u32::from(u16::from_le_bytes(id)))),
        TokenType::I16 => {
            let ids = bytes.as_chunks().0.iter().map(|&id| i16::from_le_bytes(id));
            out.extend(ids.map(|id| u32::try_from(id).unwrap_or(u32::MAX)));
        }
        TokenType::I32 => {
            let ids = bytes.as_chunks().0.iter().map(|&id| i32::from_le_bytes(id));
            out.extend(ids.map(|id| u32::try_from(id).unwrap_or(u32::MAX)));
        }
        TokenType::I64 => {
            let ids = bytes.as_chunks().0.iter().map(|&id| i64::from_le_bytes(id));
            out.extend(ids.map(|id| u32::try_from(id).unwrap_or(u32::MAX)));
        }
    }
}

/// Returns the BLAKE3 hash of both files of a shard, each [sampled](hash_sampled).
pub(crate) fn fingerprint(prefix: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hash_sampled(&idx_path(prefix), &mut hasher)?;
    hash_sampled(&bin_path(prefix), &mut hasher)?;
    Ok(hasher.finalize())
}
