//! Rows that lie ready in numbered files, trained on one file after another: the data of LLM360's Amber, in which chunk `k` makes
//! checkpoint `k`.
//!
//! [`directory`] finds the files; [`convert`] makes token shards of them, once; [`sequence`] says which row of which chunk a row of the run
//! is; [`make`] makes such files of documents.

// Files of chunks.
mod convert;
mod directory;

// Chunks of a run, and how they are made.
mod make;
mod sequence;

pub use make::{ChunkSetInfo, ChunkSpec, make_chunks};
pub use sequence::Chunk;

pub(crate) use convert::RowFileConverter;
pub(crate) use directory::ChunkDirectory;
pub(crate) use make::{cached_chunks_dir, make_chunks_from_texts};
pub(crate) use sequence::{ChunkSequence, ChunkSource};
