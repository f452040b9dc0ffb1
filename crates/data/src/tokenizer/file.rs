//! A tokenizer file.

use std::path::{Path, PathBuf};

use crate::boundary_tokens::BoundaryTokens;
use crate::error::{DataError, Result};
use crate::tokenizer::byte_lengths::ByteLengths;
use crate::tokenizer::engine::TokenizerEngine;
use crate::tokenizer::find_boundary_tokens::find_boundary_tokens;

/// A tokenizer file that was read, with the BOS and EOS that it has.
#[derive(Debug)]
pub(super) struct TokenizerFile {
    pub(super) engine: TokenizerEngine,
    pub(super) path: PathBuf,
    /// BLAKE3 of the file, in hexadecimal.
    pub(super) fingerprint: String,
    /// BOS and EOS of the tokenizer, whether or not documents carry them.
    pub(super) special: BoundaryTokens,
    pub(super) byte_lengths: ByteLengths,
}

impl TokenizerFile {
    /// Reads one file. Other files in its directory aren't considered, except for `tokenizer_config.json`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let bad = |message: String| DataError::BadTokenizer { path: path.to_owned(), message };
        let engine = TokenizerEngine::from_bytes(&bytes, path).map_err(bad)?;
        if engine.vocab_size() == 0 {
            return Err(bad("its vocabulary is empty".to_owned()));
        }
        let special = find_boundary_tokens(path, &engine)?;
        let byte_lengths = ByteLengths::of(&engine).map_err(|error| bad(error.to_string()))?;
        let fingerprint = blake3::hash(&bytes).to_hex().to_string();
        Ok(Self { engine, path: path.to_owned(), fingerprint, special, byte_lengths })
    }

    /// Returns the ids of a text, without BOS and EOS.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.engine.encode_into(text, &mut ids)?;
        Ok(ids)
    }

    /// Returns whether this is a `tokenizer.json` with the tokens of a SentencePiece model.
    pub(super) fn is_converted_from_pieces(&self) -> bool {
        matches!(&self.engine, TokenizerEngine::Json(json) if json.is_of_pieces())
    }
}
