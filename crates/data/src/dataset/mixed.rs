//! A dataset whose rows are a mixture of sources.

use std::sync::Arc;

use crate::config::{DataConfig, RowOrder};
use crate::corpus::Corpus;
use crate::dataset::source::{DatasetParts, DatasetSource, RowSequence, ShardSummary, packing_tokens};
use crate::error::{DataError, Result};
use crate::mixture::Mixture;
use crate::packing::{Packer, PartialRow};
use crate::preparation::shards_of;
use crate::progress::PreparationProgress;
use crate::shards::SourceTokens;
use crate::split::split;
use crate::tokenizer::Tokenizer;
use crate::validation::ValidationSource;

/// Version of the rows. Changed when the same configuration and text would result in different rows.
const VERSION: &[u8] = b"fineline rows 1";

/// Opens the sources of the mixture, after tokenizing those that are text.
pub(super) fn open_mixture(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    seed: u64,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<DatasetParts> {
    let config = corpus.config();
    let mut hasher = blake3::Hasher::new();
    hasher.update(VERSION).update(settings_text(config, tokenizer, seed).as_bytes());
    if config.order != RowOrder::Shuffled {
        hasher.update(format!("{:?}", config.order).as_bytes());
    }
    let (mut sources, mut validation) = (Vec::new(), Vec::new());
    for (source, data) in corpus.sources() {
        let in_source = |error: DataError| error.in_source(&source.name);
        let prefixes =
            shards_of((source, data), tokenizer, &config.cache_dir, progress).map_err(in_source)?;
        let shards = prefixes.iter().map(|prefix| ShardSummary::of(prefix)).collect::<Result<Vec<_>>>();
        let shards = shards.map_err(in_source)?;
        hasher.update(format!("{:?}", (&source.name, source.weight.to_bits(), shards.len())).as_bytes());
        for shard in &shards {
            hasher.update(shard.fingerprint.as_bytes());
        }
        let (source, held_out) = open_source(config, &source.name, shards, tokenizer).map_err(in_source)?;
        sources.push(source);
        validation.extend(held_out);
    }
    let weights: Vec<f64> = config.mix.iter().map(|source| source.weight).collect();
    let sequence = RowSequence::Mixture { mixture: Mixture::new(&weights), order: config.order, seed };
    Ok(DatasetParts { sources, sequence, validation, fingerprint: hasher.finalize().to_hex().to_string() })
}

/// Returns the settings as they enter the fingerprint, which this spelling is a part of.
fn settings_text(config: &DataConfig, tokenizer: &Tokenizer, seed: u64) -> String {
    format!(
        "({seed}, {}, {:?}, {}, {:?}, {})",
        config.seq_len,
        config.packing,
        config.validation_share.to_bits(),
        tokenizer.bos_id(),
        tokenizer.boundary_tokens().fingerprint_text(),
    )
}

fn open_source(
    config: &DataConfig,
    name: &str,
    shards: Vec<ShardSummary>,
    tokenizer: &Tokenizer,
) -> Result<(DatasetSource, Option<ValidationSource>)> {
    let tokens = Arc::new(SourceTokens::open(shards.iter().map(|shard| shard.prefix.as_path()))?);
    let split = split(&tokens, config.validation_share);
    let special = packing_tokens(tokenizer);
    let (training_tokens, validation_tokens) = (split.training.len(), split.validation.len());
    let pack = |spans, last| Packer::new(config.packing, &tokens, spans, config.seq_len, last, special);
    let training = pack(split.training, PartialRow::Drop);
    if training.rows() == 0 {
        return Err(DataError::TooFewTokens { tokens: training_tokens, needed: config.seq_len as u64 + 1 });
    }
    let validation = (validation_tokens > 0).then(|| {
        let packer = pack(split.validation, PartialRow::Pad);
        ValidationSource::new(name, Arc::clone(&tokens), packer, tokenizer.clone())
    });
    let purpose = format!("data/rows/{name}");
    let name = name.to_owned();
    Ok((DatasetSource { name, purpose, tokens, training, validation_tokens, shards }, validation))
}
