//! Text to rows of token ids, as a function.
//!
//! [`Dataset`] is the training mixture: row `i` of a run is computed from the configuration and a seed, not stored, not shuffled, and
//! depends on nothing else. So a run resumes at any step, on any number of ranks, and the rows of step `k` can be shown long
//! after.
//!
//! The way there: a [`Corpus`] is what the configuration leads to on disk; a [`TextSource`] reads documents out of files; a [`Tokenizer`] makes ids of them; [`prepare`] writes those as
//! token shards in Megatron's format, which are memory-mapped; a mixture says which source a row comes from; packing says
//! which tokens stand in it; and a share of each source is kept out of training as [`ValidationSource`]. Rows may also come ready, in
//! numbered files that are gone through one after another: then a [`Chunk`] takes the place of the mixture.
//!
//! This crate knows nothing of tensors, models, steps, ranks or devices, and draws no random number that is not addressed by
//! `(seed, purpose, index)`.

// Ground: configuration, errors and names of files.
mod boundary_tokens;
mod config;
mod error;
mod paths;
mod progress;
mod sampled_hash;

// Text on disk.
mod corpus;
mod text;

// Text to token ids.
mod tokenizer;

// Token ids on disk.
mod preparation;
mod shards;

// Rows of token ids.
mod packing;
mod split;

// The dataset: which row of which source comes when.
mod chunks;
mod dataset;
mod mixture;
mod validation;

#[cfg(test)]
mod testing;

pub use boundary_tokens::BoundaryTokens;
pub use chunks::{Chunk, ChunkSetInfo, ChunkSpec, make_chunks};
pub use config::{
    ChunkShuffle, ChunksConfig, DataConfig, Packing, Replacement, RowOrder, SourceConfig, TokenizerConfig,
};
pub use corpus::Corpus;
pub use dataset::{Dataset, DatasetOptions, SourceStats};
pub use error::{DataError, Result};
pub use packing::{DocumentPart, Row, RowOrigin};
pub use preparation::prepare;
pub use progress::PreparationProgress;
pub use shards::ShardInfo;
pub use text::{TextDocuments, TextSource, open_decompressed};
pub use tokenizer::{MIN_VOCAB_SIZE, Tokenizer, TokenizerComparison, train_bpe};
pub use validation::{ValidationRow, ValidationSource};
