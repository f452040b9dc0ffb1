//! `tokenizer.json` files.

use rayon::prelude::*;
use tokenizers::{ModelWrapper, Tokenizer as Inner};

use crate::error::{DataError, Result};
use crate::tokenizer::cuts::CutRules;
use crate::tokenizer::spelling::{TokenSpelling, token_bytes};
use crate::tokenizer::word_cache::WordCache;

/// A `tokenizer.json`, used through the `tokenizers` crate.
#[derive(Debug)]
pub(super) struct JsonTokenizer {
    pub(super) inner: Inner,
    pub(super) cuts: Option<CutRules>,
    spelling: TokenSpelling,
    word_cache: WordCache,
}

impl JsonTokenizer {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// A description of what is wrong with the file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut inner = Inner::from_bytes(bytes).map_err(|error| error.to_string())?;
        inner.set_encode_special_tokens(true);
        // Padding and truncation are settings for other purposes, and would change documents here.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        let cuts = CutRules::of(&inner).map_err(|error| error.to_string())?;
        Ok(Self { spelling: TokenSpelling::of(&inner), inner, cuts, word_cache: WordCache::default() })
    }

    /// Appends the ids of a text to `ids`.
    pub(super) fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let Some(cuts) = &self.cuts else {
            ids.extend(self.encode_part(text)?);
            return Ok(());
        };
        let encode = |(number, part): (usize, &&str)| {
            let Some(words) = cuts.words(part) else {
                return Ok(self.encode_part(part)?.split_off(cuts.prefix_of(number)));
            };
            let mut ids = Vec::with_capacity(part.len() / 3);
            for word in words {
                self.word_cache.encode(word, &mut ids, |word| self.encode_part(word))?;
            }
            Ok(ids)
        };
        let parts = cuts.parts(text);
        let encoded: Vec<_> = parts.par_iter().enumerate().map(encode).collect();
        encoded.into_iter().try_for_each(|part: Result<Vec<u32>>| {
            ids.extend(part?);
            Ok(())
        })
    }

    fn encode_part(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.inner.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(failed)
    }

    /// Returns the largest id plus one.
    pub(super) fn vocab_size(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }

    /// Returns the number of bytes of text that an id stands for.
    pub(super) fn byte_len(&self, id: u32) -> Result<usize> {
        let added = self.inner.get_added_tokens_decoder();
        match (added.get(&id), self.inner.id_to_token(id)) {
            (Some(added), _) if added.special => Ok(0),
            (Some(added), _) => Ok(added.content.len()),
            (None, Some(token)) => token_bytes(&self.inner, id, &token, self.spelling).map_err(failed),
            (None, None) => Ok(0),
        }
    }

    /// Returns the ids of special and other added tokens, in ascending order.
    pub(super) fn special_tokens(&self) -> Vec<u32> {
        let mut ids = self.inner.get_added_tokens_decoder().into_keys().collect::<Vec<_>>();
        ids.sort_unstable();
        ids
    }

    /// Returns whether tokens are spelled like the pieces of SentencePiece.
    pub(super) fn is_of_pieces(&self) -> bool {
        self.spelling == TokenSpelling::Pieces
    }

    /// Returns the kind of tokenizer, in words.
    pub(super) fn kind(&self) -> &'static str {
        match (self.inner.get_model(), self.spelling) {
            (ModelWrapper::BPE(_), TokenSpelling::ByteLevel) => "byte-level BPE",
            (ModelWrapper::BPE(_), _) => "BPE",
            (ModelWrapper::Unigram(_), _) => "unigram",
            (ModelWrapper::WordPiece(_), _) => "WordPiece",
            (ModelWrapper::WordLevel(_), _) => "word level",
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
fn failed(error: tokenizers::Error) -> DataError {
    DataError::Tokenize { message: error.to_string() }
}
