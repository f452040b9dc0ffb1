//! One opened source of a dataset, and the parts of a dataset.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunks::ChunkSequence;
use crate::config::RowOrder;
use crate::error::Result;
use crate::mixture::Mixture;
use crate::packing::{Packer, PackingTokens};
use crate::shards::{self, ShardInfo, SourceTokens, max_token_id};
use crate::tokenizer::Tokenizer;
use crate::validation::ValidationSource;

/// A source with its rows.
#[derive(Debug)]
pub(super) struct DatasetSource {
    pub(super) name: String,
    /// Purpose under which the order of its rows is drawn, together with seed and epoch.
    pub(super) purpose: String,
    pub(super) tokens: Arc<SourceTokens>,
    pub(super) training: Packer,
    pub(super) validation_tokens: u64,
    pub(super) shards: Vec<ShardSummary>,
}

/// The order in which rows are taken from the sources.
#[derive(Debug)]
pub(super) enum RowSequence {
    Mixture { mixture: Mixture, order: RowOrder, seed: u64 },
    Chunks(ChunkSequence),
}

/// All that opening the sources results in.
#[derive(Debug)]
pub(super) struct DatasetParts {
    pub(super) sources: Vec<DatasetSource>,
    pub(super) sequence: RowSequence,
    pub(super) validation: Vec<ValidationSource>,
    pub(super) fingerprint: String,
}

/// Facts about a shard that are available before its tokens are read.
#[derive(Debug)]
pub(super) struct ShardSummary {
    pub(super) prefix: PathBuf,
    pub(super) fingerprint: blake3::Hash,
    /// `None` for shards of other tools.
    pub(super) max_token_id: Option<u32>,
    /// `None` for shards of other tools and for files of rows.
    pub(super) text_bytes: Option<u64>,
}

impl ShardSummary {
    pub(super) fn of(prefix: &Path) -> Result<Self> {
        let (fingerprint, info) = (shards::fingerprint(prefix)?, ShardInfo::read(prefix)?);
        let (max_token_id, text_bytes) =
            (info.as_ref().map(|info| info.max_token_id), info.as_ref().map(|info| info.text_bytes));
        Ok(Self { prefix: prefix.to_owned(), fingerprint, max_token_id, text_bytes })
    }

    pub(super) fn max_token_id(&self, cache: &Path) -> Result<u32> {
        match self.max_token_id {
            Some(id) => Ok(id),
            None => max_token_id(&self.prefix, &self.fingerprint, cache),
        }
    }
}

/// Returns the ids of a tokenizer that packing depends on.
pub(super) fn packing_tokens(tokenizer: &Tokenizer) -> PackingTokens {
    let (bos, eos) = (tokenizer.bos_id(), tokenizer.eos_id());
    PackingTokens { bos, eos, padding: eos.unwrap_or(0) }
}
