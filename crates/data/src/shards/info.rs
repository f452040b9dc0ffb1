use std::path::Path;

use fineline_files::write_atomically;
use serde::{Deserialize, Serialize};

use crate::boundary_tokens::BoundaryTokens;
use crate::error::{DataError, Result};
use crate::paths::info_path;
use crate::tokenizer::Tokenizer;

/// What a shard was made of: `PREFIX.fineline.json`, written last, so that a shard that has one is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Documents.
    pub documents: u64,
    /// Tokens, BOS and EOS included.
    pub tokens: u64,
    /// Bytes of the documents' text in UTF-8.
    pub text_bytes: u64,
    /// Largest id that occurs.
    pub max_token_id: u32,
    /// Id at the beginning of each document.
    pub bos: Option<u32>,
    /// Id at the end of each document.
    pub eos: Option<u32>,
    /// BLAKE3 of the `tokenizer.json`.
    pub tokenizer: String,
    /// BLAKE3 of the text: see [`TextSource::fingerprint`](crate::TextSource::fingerprint).
    pub text: String,
}

impl ShardInfo {
    /// The information beside a shard, or `None` for a shard made by others.
    pub fn read(prefix: &Path) -> Result<Option<Self>> {
        let path = info_path(prefix);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs_err::read_to_string(&path)?;
        let wrong = |error: serde_json::Error| DataError::InvalidIndex { path, message: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    pub(crate) fn write(&self, prefix: &Path) -> Result<()> {
        let mut json = serde_json::to_string_pretty(self).expect("a flat struct of numbers and strings");
        json.push('\n');
        Ok(write_atomically(&info_path(prefix), json.as_bytes())?)
    }

    /// Refuses a shard whose ids mean something else to the tokenizer in use, or whose documents carry other marks than its policy
    /// puts around them.
    pub(crate) fn check(&self, prefix: &Path, tokenizer: &Tokenizer) -> Result<()> {
        let path = info_path(prefix);
        if self.tokenizer != tokenizer.fingerprint() {
            let short = |fingerprint: &str| fingerprint.chars().take(16).collect();
            let (made_with, in_use) = (short(&self.tokenizer), short(tokenizer.fingerprint()));
            return Err(DataError::OtherTokenizer { path, made_with, in_use });
        }
        let (made_with, in_use) =
            (BoundaryTokens { bos: self.bos, eos: self.eos }, tokenizer.boundary_tokens());
        if made_with == in_use {
            Ok(())
        } else {
            Err(DataError::OtherBoundaryTokens { path, made_with, in_use })
        }
    }
}
