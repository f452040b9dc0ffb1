//! Rows that lie ready in numbered files, trained on one file after another: the data of LLM360's Amber, in which chunk `k` makes
//! checkpoint `k`.
//!
//! [`folder`] finds the files; [`convert`] makes token shards of them, once; [`sequence`] says which row of which chunk a row of the run
//! is; [`make`] makes such files of documents.

mod convert;
mod folder;
mod make;
mod sequence;

pub use make::{ChunkSpec, MadeChunks, make_chunks};
pub use sequence::Chunk;

pub(crate) use convert::Converter;
pub(crate) use folder::ChunkFolder;
pub(crate) use make::{chunks_folder, make};
pub(crate) use sequence::{ChunkSequence, Placed};
