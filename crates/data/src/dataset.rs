mod chunked;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fineline_random::Permutation;

use crate::chunks::{Chunk, ChunkSequence};
use crate::mixture::Mixture;
use crate::packing::{Packer, Rest, RowMarks};
use crate::prepare::{Progress, shards_of};
use crate::shards::{self, ShardInfo, max_token_id};
use crate::split::split;
use crate::tokens::Tokens;
use crate::validation::ValidationSource;
use crate::{Corpus, DataConfig, DataError, Result, Row, RowOrder, RowOrigin, Tokenizer};

/// Changes when the same configuration and text would give other rows.
const VERSION: &[u8] = b"fineline rows 1";

/// The training mixture as a function from a row's number to its tokens.
///
/// Rows are numbered through the whole run: step `k` (from 1) of `b` rows a step takes rows `(k - 1) * b ..  k * b`, of which each
/// rank computes its own. A source's rows come in a new keyed order in each epoch, or in that of its files.
#[derive(Debug)]
pub struct Dataset {
    sources: Vec<Source>,
    order: Order,
    validation: Vec<ValidationSource>,
    cache: PathBuf,
    fingerprint: String,
}

/// What the rows of a run are numbered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The key of their order.
    pub seed: u64,
    /// Rows of a step. Only chunks depend on it: they have whole steps.
    pub batch: u64,
}

#[derive(Debug)]
struct Source {
    name: String,
    /// What the order of its rows is keyed by, with seed and epoch.
    key: String,
    tokens: Arc<Tokens>,
    training: Packer,
    validation_tokens: u64,
    shards: Vec<KnownShard>,
}

/// Which row of which source comes when.
#[derive(Debug)]
enum Order {
    Mixture { mixture: Mixture, within: RowOrder, seed: u64 },
    Chunks(ChunkSequence),
}

/// What is known of a shard before its tokens are read.
#[derive(Debug)]
struct KnownShard {
    prefix: PathBuf,
    fingerprint: blake3::Hash,
    /// Absent for shards that others made.
    max_token_id: Option<u32>,
    /// Absent for shards that others made, and for rows that come ready.
    text_bytes: Option<u64>,
}

impl KnownShard {
    fn of(prefix: &Path) -> Result<Self> {
        let (fingerprint, info) = (shards::fingerprint(prefix)?, ShardInfo::read(prefix)?);
        let (max_token_id, text_bytes) =
            (info.as_ref().map(|info| info.max_token_id), info.as_ref().map(|info| info.text_bytes));
        Ok(Self { prefix: prefix.to_owned(), fingerprint, max_token_id, text_bytes })
    }

    fn max_token_id(&self, cache: &Path) -> Result<u32> {
        match self.max_token_id {
            Some(id) => Ok(id),
            None => max_token_id(&self.prefix, &self.fingerprint, cache),
        }
    }
}

/// Counts of one source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceStats {
    /// `name` of the source.
    pub name: String,
    /// Share of all rows that come from it.
    pub share: f64,
    /// Documents, validation included.
    pub documents: u64,
    /// Tokens, validation included.
    pub tokens: u64,
    /// Bytes of text, validation included; absent for shards that others made.
    pub text_bytes: Option<u64>,
    /// Tokens kept out of training.
    pub validation_tokens: u64,
    /// Rows of an epoch.
    pub rows: u64,
}

/// A row's place before its tokens are looked at.
struct Place<'a> {
    source: &'a Source,
    epoch: u64,
    row: u64,
}

impl Dataset {
    /// Opens all sources. Text is tokenized into `data.cache_dir` first, once, and rows that come ready are made shards of there; `progress` hears
    /// of it.
    ///
    /// The rows depend on the text, the tokenizer, `[data]` without its cache and document mask, and `numbering`; the validation
    /// split does not depend on the seed.
    pub fn open(
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        numbering: Numbering,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self> {
        match &corpus.config().chunks {
            Some(chunks) => Self::open_chunks(chunks, corpus, tokenizer, numbering, progress),
            None => Self::open_mixture(corpus, tokenizer, numbering, progress),
        }
    }

    fn open_mixture(
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        Numbering { seed, .. }: Numbering,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self> {
        let config = corpus.config();
        let mut hasher = blake3::Hasher::new();
        let marks = tokenizer.marks();
        let setting = (
            seed,
            config.seq_len,
            config.packing,
            config.validation_share.to_bits(),
            tokenizer.bos_id(),
            marks,
        );
        hasher.update(VERSION).update(format!("{setting:?}").as_bytes());
        if config.order != RowOrder::Shuffled {
            hasher.update(format!("{:?}", config.order).as_bytes());
        }
        let (mut sources, mut validation) = (Vec::new(), Vec::new());
        for (source, found) in corpus.sources() {
            let in_source = |error: DataError| error.in_source(&source.name);
            let prefixes =
                shards_of((source, found), tokenizer, &config.cache_dir, progress).map_err(in_source)?;
            let shards = prefixes.iter().map(|prefix| KnownShard::of(prefix)).collect::<Result<Vec<_>>>();
            let shards = shards.map_err(in_source)?;
            hasher.update(format!("{:?}", (&source.name, source.weight.to_bits(), shards.len())).as_bytes());
            for shard in &shards {
                hasher.update(shard.fingerprint.as_bytes());
            }
            let (source, held_out) =
                open_source(config, &source.name, shards, tokenizer).map_err(in_source)?;
            sources.push(source);
            validation.extend(held_out);
        }
        let weights: Vec<f64> = config.mix.iter().map(|source| source.weight).collect();
        let order = Order::Mixture { mixture: Mixture::new(&weights), within: config.order, seed };
        let fingerprint = hasher.finalize().to_hex().to_string();
        Ok(Self { sources, order, validation, cache: config.cache_dir.clone(), fingerprint })
    }

    /// The row of a number: a pure function of the data set and `index`, in O(log n).
    #[must_use]
    pub fn row(&self, index: u64) -> Row {
        let Place { source, row, .. } = self.place(index);
        source.training.row(&source.tokens, row)
    }

    /// Where the tokens of [`row`](Self::row) come from.
    #[must_use]
    pub fn origin(&self, index: u64) -> RowOrigin {
        let Place { source, epoch, row } = self.place(index);
        let documents = source.training.parts(&source.tokens, row);
        RowOrigin { source: source.name.clone(), epoch, row, documents }
    }

    fn place(&self, index: u64) -> Place<'_> {
        match &self.order {
            Order::Mixture { mixture, within, seed } => {
                let (source, nth) = mixture.place(index);
                let source = &self.sources[source];
                let rows = source.training.rows();
                let (epoch, nth) = (nth / rows, nth % rows);
                let row = match within {
                    RowOrder::Shuffled => Permutation::new(*seed, &source.key, epoch, rows).get(nth),
                    RowOrder::Sequential => nth,
                };
                Place { source, epoch, row }
            }
            Order::Chunks(chunks) => {
                let (source, row) = chunks.place(index);
                Place { source: &self.sources[source], epoch: index / chunks.len(), row }
            }
        }
    }

    /// The chunks in their order; none where the rows are a mixture.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        match &self.order {
            Order::Mixture { .. } => &[],
            Order::Chunks(chunks) => chunks.chunks(),
        }
    }

    /// What is kept out of training, for each source of which something is.
    #[must_use]
    pub fn validation(&self) -> &[ValidationSource] {
        &self.validation
    }

    /// BLAKE3 of everything that decides the rows, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Counts of each source, in the order of the configuration.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStats> {
        let stats = |(i, source): (usize, &Source)| SourceStats {
            name: source.name.clone(),
            share: match &self.order {
                Order::Mixture { mixture, .. } => mixture.share(i),
                Order::Chunks(chunks) => chunks.taken(i, chunks.len()) as f64 / chunks.len() as f64,
            },
            documents: source.tokens.documents(),
            tokens: source.tokens.len(),
            text_bytes: source.shards.iter().map(|shard| shard.text_bytes).sum(),
            validation_tokens: source.validation_tokens,
            rows: source.training.rows(),
        };
        self.sources.iter().enumerate().map(stats).collect()
    }

    /// How many times each source has been gone through after the first `rows` rows of a run.
    #[must_use]
    pub fn epochs(&self, rows: u64) -> Vec<f64> {
        let epochs = |(i, source): (usize, &Source)| {
            let taken = match &self.order {
                Order::Mixture { mixture, .. } => mixture.taken(i, rows),
                Order::Chunks(chunks) => chunks.taken(i, rows),
            };
            taken as f64 / source.training.rows() as f64
        };
        self.sources.iter().enumerate().map(epochs).collect()
    }

    /// The sources of a mixture of which one of these rows is the first of another epoch than the first, with its number (from 1).
    #[must_use]
    pub fn epochs_begun(&self, rows: Range<u64>) -> Vec<(String, u64)> {
        let Order::Mixture { mixture, .. } = &self.order else { return Vec::new() };
        let begun = |(i, source): (usize, &Source)| {
            let [before, after] =
                [rows.start, rows.end].map(|rows| mixture.taken(i, rows).div_ceil(source.training.rows()));
            (after > before.max(1)).then(|| (source.name.clone(), after - 1))
        };
        self.sources.iter().enumerate().filter_map(begun).collect()
    }

    /// The largest token id; an id that fits no vocabulary is `u32::MAX`. A shard that others made is read whole for it, once: the
    /// answer is kept in `data.cache_dir`.
    pub fn max_token_id(&self) -> Result<u32> {
        let mut largest = 0;
        for source in &self.sources {
            for shard in &source.shards {
                let id = shard.max_token_id(&self.cache).map_err(|error| error.in_source(&source.name))?;
                largest = largest.max(id);
            }
        }
        Ok(largest)
    }
}

fn open_source(
    config: &DataConfig,
    name: &str,
    shards: Vec<KnownShard>,
    tokenizer: &Tokenizer,
) -> Result<(Source, Option<ValidationSource>)> {
    let tokens = Arc::new(Tokens::open(shards.iter().map(|shard| shard.prefix.as_path()))?);
    let split = split(&tokens, config.validation_share);
    let marks = marks(tokenizer);
    let (training_tokens, validation_tokens) = (split.training.len(), split.validation.len());
    let pack = |spans, rest| Packer::new(config.packing, &tokens, spans, config.seq_len, rest, marks);
    let training = pack(split.training, Rest::Dropped);
    if training.rows() == 0 {
        return Err(DataError::TooSmall { tokens: training_tokens, needed: config.seq_len as u64 + 1 });
    }
    let validation = (validation_tokens > 0).then(|| {
        let packer = pack(split.validation, Rest::Padded);
        ValidationSource::new(name, Arc::clone(&tokens), packer, tokenizer.clone())
    });
    let key = format!("data/rows/{name}");
    let name = name.to_owned();
    Ok((Source { name, key, tokens, training, validation_tokens, shards }, validation))
}

fn marks(tokenizer: &Tokenizer) -> RowMarks {
    let (bos, eos) = (tokenizer.bos_id(), tokenizer.eos_id());
    RowMarks { bos, eos, padding: eos.unwrap_or(0) }
}

#[cfg(test)]
mod tests;
