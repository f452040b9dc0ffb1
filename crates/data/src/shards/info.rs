//! Information about a shard of this program.

use std::path::Path;

use fineline_files::write_atomically;
use serde::{Deserialize, Serialize};

use crate::boundary_tokens::BoundaryTokens;
use crate::error::{DataError, Result};
use crate::paths::info_path;
use crate::tokenizer::Tokenizer;

/// Information about a shard of this program, in `PREFIX.fineline.json`. It is written last, so that a shard
/// that has it is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Number of documents.
    pub documents: u64,
    /// Number of tokens, including BOS and EOS.
    pub tokens: u64,
    /// Bytes of the text of the documents, in UTF-8.
    pub text_bytes: u64,
    /// Largest token id.
    pub max_token_id: u32,
    /// Id before each document.
    pub bos: Option<u32>,
    /// Id after each document.
    pub eos: Option<u32>,
    /// BLAKE3 hash of the tokenizer file.
    pub tokenizer: String,
    /// BLAKE3 hash of the text. See [`TextSource::fingerprint`](crate::TextSource::fingerprint).
    pub text: String,
}

impl ShardInfo {
    /// Reads the information about a shard, or returns `None` for a shard of another tool.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read, and [`DataError::InvalidIndex`] if it is not valid JSON
    /// of this form.
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

    /// Checks that a shard was made with the tokenizer in use, and with the same BOS and EOS around
    /// documents.
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
