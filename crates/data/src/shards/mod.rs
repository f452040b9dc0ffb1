//! Token shards: Megatron's indexed dataset, which tools of Megatron-LM, Megatron-DeepSpeed and GPT-NeoX
//! write and read.
//!
//! `PREFIX.bin` contains the tokens of all sequences as little-endian integers of one width. `PREFIX.idx`,
//! also little-endian, contains their positions (`megatron/core/datasets/indexed_dataset.py`):
//!
//! | bytes | content |
//! |---|---|
//! | 9 | `MMIDIDX\0\0` |
//! | 8 | version, 1 |
//! | 1 | type of a token: 1 u8, 3 i16, 4 i32, 5 i64, 8 u16 |
//! | 8 | n: number of sequences |
//! | 8 | d: number of documents, plus one |
//! | 4 n | length of each sequence in tokens, i32 |
//! | 8 n | position of each sequence in `.bin` in bytes, i64 |
//! | 8 d | first sequence of each document, i64; the last entry is n |
//!
//! fineline writes one sequence per document, and beside the two a `PREFIX.fineline.json` ([`ShardInfo`])
//! that others ignore.

// The file format.
mod format;

// Files of one shard.
mod index;
mod info;
mod shard;
mod writer;

// Complete shards.
mod max_token_id;
mod tokens;

#[cfg(test)]
mod tests;

pub use info::ShardInfo;

pub(crate) use max_token_id::max_token_id;
pub(crate) use shard::{Shard, fingerprint};
pub(crate) use tokens::SourceTokens;
#[cfg(test)]
pub(crate) use tokens::tests::tokens;
pub(crate) use writer::ShardWriter;
