use tokenizers::Tokenizer as Inner;

use super::Engine;
use super::spelling::Spelling;
use crate::Result;

/// How many bytes of text each id stands for, so that the bytes of any run of tokens can be summed.
///
/// Exact where a tokenizer keeps every byte of its text, as byte-level BPE and SentencePiece with byte fallback do; where one
/// normalizes (NFC, lower case, spaces that collapse), these are the bytes of the normalized text, and what is unknown has none.
#[derive(Clone, Debug)]
pub(super) struct ByteLengths {
    lengths: Vec<u16>,
    prefix: usize,
}

impl ByteLengths {
    pub(super) fn of(engine: &Engine) -> Result<Self> {
        let lengths = (0..engine.vocab_size() as u32)
            .map(|id| engine.byte_len(id).map(|length| u16::try_from(length).unwrap_or(u16::MAX)));
        let mut this = Self { lengths: lengths.collect::<Result<_>>()?, prefix: 0 };
        let mut probe = Vec::new();
        engine.encode_into("a", &mut probe)?;
        let bytes: usize = probe.iter().map(|&id| this.of_token(id)).sum();
        this.prefix = bytes.saturating_sub(1);
        Ok(this)
    }

    pub(super) fn of_token(&self, id: u32) -> usize {
        self.lengths.get(id as usize).copied().map_or(0, usize::from)
    }

    /// Bytes put before every text.
    pub(super) fn prefix(&self) -> usize {
        self.prefix
    }
}

/// Bytes of text that a token which isn't special stands for.
pub(super) fn token_bytes(
    inner: &Inner,
    id: u32,
    token: &str,
    spelling: Spelling,
) -> tokenizers::Result<usize> {
    Ok(match spelling {
        Spelling::ByteLevel => token.chars().count(),
        Spelling::Pieces if is_byte(token) => 1,
        Spelling::Pieces => token.len() - token.matches('▁').count() * ('▁'.len_utf8() - 1),
        Spelling::Decoded => inner.decode(&[id], true)?.len(),
    })
}

fn is_byte(token: &str) -> bool {
    let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_byte_tokens_are_bytes() {
        assert!(is_byte("<0x0A>") && is_byte("<0xff>"));
        assert!(!["<0x0>", "<0xGG>", "0x0A", "<s>", ""].into_iter().any(is_byte));
    }
}
