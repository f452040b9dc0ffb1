use std::path::{Path, PathBuf};
use std::sync::Arc;

use fineline_random::Permutation;

use crate::mixture::Mixture;
use crate::packing::{Packer, Rest, RowMarks};
use crate::prepare::{Progress, shards_of};
use crate::shards::{self, ShardInfo, max_token_id};
use crate::split::split;
use crate::tokens::Tokens;
use crate::validation::ValidationSource;
use crate::{Corpus, DataConfig, DataError, Result, Row, RowOrigin, Tokenizer};

/// Changes when the same configuration and text would give other rows.
const VERSION: &[u8] = b"fineline rows 1";

/// The training mixture as a function from a row's number to its tokens.
///
/// Rows are numbered through the whole run: step `k` (from 1) of `b` rows a step takes rows `(k - 1) * b ..  k * b`, of which each
/// rank computes its own. A source's rows come in a new keyed order in each epoch.
#[derive(Debug)]
pub struct Dataset {
    sources: Vec<Source>,
    mixture: Mixture,
    validation: Vec<ValidationSource>,
    seed: u64,
    cache: PathBuf,
    fingerprint: String,
}

#[derive(Debug)]
struct Source {
    name: String,
    /// What the order of its rows is keyed by, with seed and epoch.
    order: String,
    tokens: Arc<Tokens>,
    training: Packer,
    validation_tokens: u64,
    shards: Vec<KnownShard>,
}

/// What is known of a shard before its tokens are read.
#[derive(Debug)]
struct KnownShard {
    prefix: PathBuf,
    fingerprint: blake3::Hash,
    /// Absent for shards that others made.
    info: Option<ShardInfo>,
}

impl KnownShard {
    fn of(prefix: &Path) -> Result<Self> {
        let (fingerprint, info) = (shards::fingerprint(prefix)?, ShardInfo::read(prefix)?);
        Ok(Self { prefix: prefix.to_owned(), fingerprint, info })
    }

    fn max_token_id(&self, cache: &Path) -> Result<u32> {
        match &self.info {
            Some(info) => Ok(info.max_token_id),
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
    /// Opens all sources. Text is tokenized into `data.cache` first, once; `progress` hears of it.
    ///
    /// The rows depend on the text, the tokenizer, `[data]` without its cache and document mask, and `seed`; the validation
    /// split does not depend on the seed.
    pub fn open(
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        seed: u64,
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
        let (mut sources, mut validation) = (Vec::new(), Vec::new());
        for (source, found) in corpus.sources() {
            let in_source = |error: DataError| error.in_source(&source.name);
            let prefixes =
                shards_of((source, found), tokenizer, &config.cache, progress).map_err(in_source)?;
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
        let fingerprint = hasher.finalize().to_hex().to_string();
        let (mixture, cache) = (Mixture::new(&weights), config.cache.clone());
        Ok(Self { sources, mixture, validation, seed, cache, fingerprint })
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
        let (source, nth) = self.mixture.place(index);
        let source = &self.sources[source];
        let rows = source.training.rows();
        let epoch = nth / rows;
        let order = Permutation::new(self.seed, &source.order, epoch, rows);
        Place { source, epoch, row: order.get(nth % rows) }
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
            share: self.mixture.share(i),
            documents: source.tokens.documents(),
            tokens: source.tokens.len(),
            text_bytes: source.shards.iter().map(|shard| Some(shard.info.as_ref()?.text_bytes)).sum(),
            validation_tokens: source.validation_tokens,
            rows: source.training.rows(),
        };
        self.sources.iter().enumerate().map(stats).collect()
    }

    /// How many times each source has been gone through after the first `rows` rows of a run.
    #[must_use]
    pub fn epochs(&self, rows: u64) -> Vec<f64> {
        let epochs = |(i, source): (usize, &Source)| {
            self.mixture.taken(i, rows) as f64 / source.training.rows() as f64
        };
        self.sources.iter().enumerate().map(epochs).collect()
    }

    /// The largest token id; an id that fits no vocabulary is `u32::MAX`. A shard that others made is read whole for it, once: the
    /// answer is kept in `data.cache`.
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
    let marks = RowMarks { bos: tokenizer.bos_id(), padding: tokenizer.eos_id().unwrap_or(0) };
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
    let order = format!("data/rows/{name}");
    let name = name.to_owned();
    Ok((Source { name, order, tokens, training, validation_tokens, shards }, validation))
}

#[cfg(test)]
mod tests;
