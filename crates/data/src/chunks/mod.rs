//! Rows that are stored in numbered files and trained on one file after another, as in LLM360's Amber, where
//! chunk `k` results in checkpoint `k`.
//!
//! - [`directory`] finds the files.
//! - [`convert`] converts them to token shards, once.
//! - [`sequence`] maps a row of the run to a row of a chunk.
//! - [`make`] makes such files from documents.

// Files of chunks.
mod convert;
mod directory;

// Chunks of a run, and their creation.
mod make;
mod sequence;

pub use make::{ChunkSetInfo, ChunkSpec, make_chunks};
pub use sequence::Chunk;

pub(crate) use convert::RowFileConverter;
pub(crate) use directory::ChunkDirectory;
pub(crate) use make::{cached_chunks_dir, make_chunks_from_texts};
pub(crate) use sequence::{ChunkSequence, ChunkSource};
