//! The index of a shard.

use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{DataError, Result};
use crate::shards::format::{HEADER, MAGIC, TokenType, VERSION};

/// A memory-mapped `.idx` file, validated when it is opened.
#[derive(Debug)]
pub(super) struct ShardIndex {
    map: Mmap,
    pub(super) token_type: TokenType,
    sequences: usize,
    documents: usize,
}

impl ShardIndex {
    /// Maps the index and checks that it describes contiguous sequences that are grouped into documents.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = fs_err::File::open(path)?;
        // SAFETY: shards are written completely before they are renamed to their path, and not modified
        // afterwards. As for any memory map, nobody may truncate the file while it is in use.
        #[allow(unsafe_code, reason = "the index of a large corpus is gigabytes")]
        let map = unsafe { Mmap::map(file.file()) }?;
        let wrong = |message: String| DataError::InvalidIndex { path: path.to_owned(), message };
        if !map.starts_with(MAGIC) {
            return Err(wrong("it does not begin with MMIDIDX".to_owned()));
        }
        if map.len() < HEADER {
            let (expected, found) = (HEADER as u64, map.len() as u64);
            return Err(DataError::TruncatedShard { path: path.to_owned(), expected, found });
        }
        let version = u64_at(&map, 9);
        if version != VERSION {
            return Err(wrong(format!("version {version}, expected {VERSION}")));
        }
        let token_type = TokenType::from_code(map[17])
            .ok_or_else(|| wrong(format!("type code {} is not one of token ids", map[17])))?;
        let (sequences, document_starts) = (u64_at(&map, 18), u64_at(&map, 26));
        let expected = u128::from(sequences) * 12 + u128::from(document_starts) * 8 + HEADER as u128;
        if expected != map.len() as u128 {
            let expected = u64::try_from(expected).unwrap_or(u64::MAX);
            return Err(DataError::TruncatedShard {
                path: path.to_owned(),
                expected,
                found: map.len() as u64,
            });
        }
        if document_starts == 0 {
            return Err(wrong("it has no document starts".to_owned()));
        }
        // Both fit into usize, because the file is at least as long.
        let (sequences, documents) = (sequences as usize, document_starts as usize - 1);
        let index = Self { map, token_type, sequences, documents };
        index.check(path.to_owned())?;
        Ok(index)
    }

    fn check(&self, path: PathBuf) -> Result<()> {
        let mut end = 0;
        for sequence in 0..self.sequences {
            let (size, offset) = (self.size(sequence), self.offset(sequence));
            if size < 0 || offset != end {
                let message =
                    format!("sequence {sequence} has {size} tokens at byte {offset}, expected at byte {end}");
                return Err(DataError::InvalidIndex { path, message });
            }
            end += u64::from(size.unsigned_abs()) * self.token_type.width() as u64;
        }
        let mut first = 0;
        for document in 0..=self.documents {
            let next = self.first_sequence(document);
            let out_of_order = next < first || (document == 0 && next != 0);
            if out_of_order || (document == self.documents && next != self.sequences as u64) {
                let message = format!(
                    "document {document} begins at sequence {next}, of {} sequences in {} documents",
                    self.sequences, self.documents
                );
                return Err(DataError::InvalidIndex { path, message });
            }
            first = next;
        }
        Ok(())
    }

    pub(super) fn documents(&self) -> u64 {
        self.documents as u64
    }

    /// Returns the first token of a document, or the number of tokens for the index after the last document.
    pub(super) fn document_start(&self, document: u64) -> u64 {
        let sequence = self.first_sequence(document as usize) as usize;
        let bytes = if sequence < self.sequences { self.offset(sequence) } else { self.bin_bytes() };
        bytes / self.token_type.width() as u64
    }

    /// Returns the size that the `.bin` file must have.
    pub(super) fn bin_bytes(&self) -> u64 {
        self.sequences.checked_sub(1).map_or(0, |last| {
            self.offset(last) + u64::from(self.size(last).unsigned_abs()) * self.token_type.width() as u64
        })
    }

    fn size(&self, sequence: usize) -> i32 {
        i32::from_le_bytes(bytes_at(&self.map, HEADER + sequence * 4))
    }

    fn offset(&self, sequence: usize) -> u64 {
        u64::from_le_bytes(bytes_at(&self.map, HEADER + self.sequences * 4 + sequence * 8))
    }

    fn first_sequence(&self, document: usize) -> u64 {
        u64::from_le_bytes(bytes_at(&self.map, self.starts_at() + document * 8))
    }

    fn starts_at(&self) -> usize {
        HEADER + self.sequences * 12
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}
