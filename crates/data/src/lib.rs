//! Text to rows of token ids, as a pure function.
//!
//! [`Dataset`] holds the training rows: row `i` of a run is computed from the configuration and a seed. Rows
//! are neither stored nor shuffled in memory, and depend on nothing else. A run can therefore resume at any
//! step on any number of ranks, and the rows of step `k` can be inspected at any time.
//!
//! The steps in between:
//!
//! - [`Corpus`] resolves the paths of the configuration to files.
//! - [`TextSource`] reads documents from files.
//! - [`Tokenizer`] encodes them as token ids.
//! - [`prepare`] writes the ids as token shards in Megatron's format, which are memory-mapped.
//! - A mixture determines the source of each row, and packing determines its tokens.
//! - [`ValidationSource`] holds the fraction of each source that is held out from training.
//!
//! Rows may also be stored in numbered files that are trained on one after another. Then a [`Chunk`]
//! replaces the mixture.
//!
//! This crate doesn't depend on tensors, models, steps, ranks or devices. It draws no random number that is
//! not addressed by `(seed, purpose, index)`.

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
