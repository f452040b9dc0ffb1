//! The two kinds of tokenizers behind one type.

use std::path::Path;

use crate::boundary_tokens::BoundaryTokens;
use crate::error::Result;
use crate::tokenizer::json::JsonTokenizer;
use crate::tokenizer::sentencepiece::SentencePiece;

/// The part of a tokenizer that maps between text and ids.
#[derive(Debug)]
pub(super) enum TokenizerEngine {
    Json(Box<JsonTokenizer>),
    SentencePiece(Box<SentencePiece>),
}

impl TokenizerEngine {
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, String> {
        let is_json = path.extension().is_some_and(|extension| extension == "json")
            || bytes.trim_ascii_start().starts_with(b"{");
        if is_json {
            JsonTokenizer::from_bytes(bytes).map(|json| Self::Json(Box::new(json)))
        } else {
            SentencePiece::from_bytes(bytes).map(|model| Self::SentencePiece(Box::new(model)))
        }
    }

    /// Appends the ids of a text to `ids`.
    pub(super) fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Json(json) => json.encode_into(text, ids),
            Self::SentencePiece(model) => model.encode_into(text, ids),
        }
    }

    pub(super) fn vocab_size(&self) -> usize {
        match self {
            Self::Json(json) => json.vocab_size(),
            Self::SentencePiece(model) => model.vocab_size(),
        }
    }

    pub(super) fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Json(json) => json.inner.id_to_token(id),
            Self::SentencePiece(model) => model.token(id).map(str::to_owned),
        }
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        match self {
            Self::Json(json) => json.inner.token_to_id(token),
            Self::SentencePiece(model) => model.id_of(token),
        }
    }

    /// Returns the id of a name, unless the name is ordinary text of a SentencePiece model.
    pub(super) fn id_of_special(&self, token: &str) -> Option<u32> {
        match self {
            Self::Json(_) => self.id_of(token),
            Self::SentencePiece(model) => self.id_of(token).filter(|id| model.special_tokens().contains(id)),
        }
    }

    /// Returns the number of bytes of text that an id stands for.
    pub(super) fn byte_len(&self, id: u32) -> Result<usize> {
        match self {
            Self::Json(json) => json.byte_len(id),
            Self::SentencePiece(model) => Ok(model.byte_len(id)),
        }
    }

    /// Returns the text of ids, without special tokens.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        match self {
            Self::Json(json) => json.decode(ids),
            Self::SentencePiece(model) => Ok(model.decode(ids)),
        }
    }

    /// Returns BOS and EOS as the file itself defines them. A `tokenizer.json` doesn't.
    pub(super) fn defined_boundary_tokens(&self) -> BoundaryTokens {
        match self {
            Self::Json(_) => BoundaryTokens { bos: None, eos: None },
            Self::SentencePiece(model) => model.boundary_tokens(),
        }
    }

    /// Returns the ids of special tokens and of tokens that were added or defined by hand.
    pub(super) fn special_tokens(&self) -> Vec<u32> {
        match self {
            Self::Json(json) => json.special_tokens(),
            Self::SentencePiece(model) => model.special_tokens(),
        }
    }

    /// Returns the kind of tokenizer, in words.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Json(json) => format!("tokenizer.json ({})", json.kind()),
            Self::SentencePiece(model) => model.kind().to_owned(),
        }
    }

    /// Returns the normalization settings of a SentencePiece model.
    pub(super) fn settings(&self) -> Option<String> {
        match self {
            Self::Json(_) => None,
            Self::SentencePiece(model) => Some(model.settings()),
        }
    }
}
