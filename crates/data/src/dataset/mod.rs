//! The training rows as a function of their index.

// Opened sources.
mod source;

// Ways to open them.
mod chunked;
mod mixed;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use fineline_random::Permutation;

use crate::chunks::Chunk;
use crate::config::RowOrder;
use crate::corpus::Corpus;
use crate::error::Result;
use crate::packing::{Row, RowOrigin};
use crate::progress::PreparationProgress;
use crate::tokenizer::Tokenizer;
use crate::validation::ValidationSource;
use source::{DatasetParts, DatasetSource, RowSequence};

/// The training rows as a function of their index.
///
/// Rows are numbered through the whole run: with `b` rows per step, step `k` (from 1) takes rows `(k - 1) * b
/// .. k * b`, of which each rank computes its own. The rows of a source come in a new pseudo-random order in
/// each epoch, or in the order of its files.
#[derive(Debug)]
pub struct Dataset {
    parts: DatasetParts,
    cache: PathBuf,
}

/// Values of a run on which the order of rows depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetOptions {
    /// Seed of the order.
    pub seed: u64,
    /// Rows per step. Only chunks depend on it: they are cut to complete steps.
    pub global_batch_size: u64,
}

/// Counts of one source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceStats {
    /// Name of the source.
    pub name: String,
    /// Fraction of all rows that come from it.
    pub share: f64,
    /// Number of documents, including validation.
    pub documents: u64,
    /// Number of tokens, including validation.
    pub tokens: u64,
    /// Bytes of text, including validation. `None` for shards of other tools.
    pub text_bytes: Option<u64>,
    /// Number of tokens that are held out for validation.
    pub validation_tokens: u64,
    /// Rows per epoch.
    pub rows: u64,
}

/// A row of a source.
struct RowLocation<'a> {
    source: &'a DatasetSource,
    epoch: u64,
    /// Number of the row within the source.
    row: u64,
}

impl Dataset {
    /// Opens all sources.
    ///
    /// Text is first tokenized into shards in the data cache, and files of rows are converted to shards
    /// there, each of them once. `progress` is called meanwhile.
    ///
    /// The rows depend on the text, the tokenizer, `options`, and the `[data]` section except for its cache
    /// and document mask. The validation split doesn't depend on the seed.
    ///
    /// # Errors
    /// [`DataError::Source`](crate::DataError::Source) around the error of a source whose files cannot be
    /// read, contain invalid text, have another tokenizer or too few tokens for one row. Chunks that are
    /// missing, empty or smaller than one batch have errors of their own.
    pub fn open(
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        options: DatasetOptions,
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<Self> {
        let DatasetOptions { seed, global_batch_size } = options;
        let parts = match &corpus.config().chunks {
            Some(chunks) => {
                chunked::open_chunks(chunks, corpus, tokenizer, (seed, global_batch_size), progress)
            }
            None => mixed::open_mixture(corpus, tokenizer, seed, progress),
        };
        Ok(Self { parts: parts?, cache: corpus.config().cache_dir.clone() })
    }

    /// Returns the row with the given index. A pure function of the dataset and `index`, in O(log n).
    #[must_use]
    pub fn row(&self, index: u64) -> Row {
        let RowLocation { source, row, .. } = self.locate(index);
        source.training.row(&source.tokens, row)
    }

    /// Returns the origin of the tokens of [`row`](Self::row).
    #[must_use]
    pub fn origin(&self, index: u64) -> RowOrigin {
        let RowLocation { source, epoch, row } = self.locate(index);
        let documents = source.training.parts(&source.tokens, row);
        RowOrigin { source: source.name.clone(), epoch, row, documents }
    }

    fn locate(&self, index: u64) -> RowLocation<'_> {
        let sources = &self.parts.sources;
        match &self.parts.sequence {
            RowSequence::Mixture { mixture, order, seed } => {
                let (source, nth) = mixture.locate(index);
                let source = &sources[source];
                let rows = source.training.rows();
                let (epoch, nth) = (nth / rows, nth % rows);
                let row = match order {
                    RowOrder::Shuffled => Permutation::new(*seed, &source.purpose, epoch, rows).get(nth),
                    RowOrder::Sequential => nth,
                };
                RowLocation { source, epoch, row }
            }
            RowSequence::Chunks(chunks) => {
                let (source, row) = chunks.locate(index);
                RowLocation { source: &sources[source], epoch: index / chunks.len(), row }
            }
        }
    }

    /// Returns the chunks in their order. Empty if the rows are a mixture.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        match &self.parts.sequence {
            RowSequence::Mixture { .. } => &[],
            RowSequence::Chunks(chunks) => chunks.chunks(),
        }
    }

    /// Returns the validation part of each source that has one.
    #[must_use]
    pub fn validation(&self) -> &[ValidationSource] {
        &self.parts.validation
    }

    /// Returns the BLAKE3 hash of everything that determines the rows, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.parts.fingerprint
    }

    /// Returns counts of each source, in the order of the configuration.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStats> {
        let stats = |(i, source): (usize, &DatasetSource)| SourceStats {
            name: source.name.clone(),
            share: match &self.parts.sequence {
                RowSequence::Mixture { mixture, .. } => mixture.fraction(i),
                RowSequence::Chunks(chunks) => {
                    chunks.rows_of_source(i, chunks.len()) as f64 / chunks.len() as f64
                }
            },
            documents: source.tokens.documents(),
            tokens: source.tokens.len(),
            text_bytes: source.shards.iter().map(|shard| shard.text_bytes).sum(),
            validation_tokens: source.validation_tokens,
            rows: source.training.rows(),
        };
        self.parts.sources.iter().enumerate().map(stats).collect()
    }

    /// Returns the number of epochs of each source in the first `rows` rows of a run.
    #[must_use]
    pub fn epochs(&self, rows: u64) -> Vec<f64> {
        let epochs_of = |(i, source): (usize, &DatasetSource)| {
            let taken = match &self.parts.sequence {
                RowSequence::Mixture { mixture, .. } => mixture.rows_of_source(i, rows),
                RowSequence::Chunks(chunks) => chunks.rows_of_source(i, rows),
            };
            taken as f64 / source.training.rows() as f64
        };
        self.parts.sources.iter().enumerate().map(epochs_of).collect()
    }

    /// Returns the sources of a mixture that start a new epoch in these rows, with the number of that epoch.
    ///
    /// Epochs are counted from 0. The start of epoch 0 is not included.
    #[must_use]
    pub fn epochs_started(&self, rows: Range<u64>) -> Vec<(String, u64)> {
        let RowSequence::Mixture { mixture, .. } = &self.parts.sequence else { return Vec::new() };
        let started = |(i, source): (usize, &DatasetSource)| {
            let [before, after] = [rows.start, rows.end]
                .map(|rows| mixture.rows_of_source(i, rows).div_ceil(source.training.rows()));
            (after > before.max(1)).then(|| (source.name.clone(), after - 1))
        };
        self.parts.sources.iter().enumerate().filter_map(started).collect()
    }

    /// Returns the largest token id of all sources. An id that fits no vocabulary counts as `u32::MAX`.
    ///
    /// A shard of another tool is read completely for this, once. The result is kept in the data cache.
    ///
    /// # Errors
    /// [`DataError::Source`](crate::DataError::Source) if a shard cannot be read or the cache cannot be
    /// written.
    pub fn max_token_id(&self) -> Result<u32> {
        let mut largest = 0;
        for source in &self.parts.sources {
            for shard in &source.shards {
                let id = shard.max_token_id(&self.cache).map_err(|error| error.in_source(&source.name))?;
                largest = largest.max(id);
            }
        }
        Ok(largest)
    }
}
