//! Bytes of text for each token id.

use crate::error::Result;
use crate::tokenizer::engine::TokenizerEngine;

/// Number of bytes of text that each id stands for, so that the bytes of any sequence of tokens can be
/// summed.
///
/// The numbers are exact if the tokenizer keeps every byte of its text, as byte-level BPE and SentencePiece
/// with byte fallback do. If it normalizes text (NFC, lower case, collapsed spaces), they count the bytes of
/// the normalized text. The unknown token has 0 bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteLengths {
    lengths: Vec<u16>,
    prefix: usize,
}

impl ByteLengths {
    pub(super) fn of(engine: &TokenizerEngine) -> Result<Self> {
        let lengths = (0..engine.vocab_size() as u32)
            .map(|id| engine.byte_len(id).map(|length| u16::try_from(length).unwrap_or(u16::MAX)));
        let mut this = Self { lengths: lengths.collect::<Result<_>>()?, prefix: 0 };
        let mut ids = Vec::new();
        engine.encode_into("a", &mut ids)?;
        let bytes: usize = ids.iter().map(|&id| this.of_token(id)).sum();
        this.prefix = bytes.saturating_sub(1);
        Ok(this)
    }

    pub(super) fn of_token(&self, id: u32) -> usize {
        self.lengths.get(id as usize).copied().map_or(0, usize::from)
    }

    /// Returns the number of bytes that the tokenizer puts before every text.
    pub(super) fn prefix(&self) -> usize {
        self.prefix
    }
}
