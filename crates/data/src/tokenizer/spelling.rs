//! How a vocabulary spells the bytes of its tokens.

use tokenizers::{DecoderWrapper, Tokenizer as Inner};

/// Spelling of the bytes of a token in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenSpelling {
    /// One character per byte (GPT-2): `Ġ` for a space, `Ċ` for a line break.
    ByteLevel,
    /// Text with `▁` for a space, and `<0xHH>` for a byte without a token (SentencePiece).
    Pieces,
    /// Anything else: the decoded text of the single token.
    Decoded,
}

impl TokenSpelling {
    pub(super) fn of(inner: &Inner) -> Self {
        inner.get_decoder().map_or(Self::Decoded, Self::of_decoder)
    }

    fn of_decoder(decoder: &DecoderWrapper) -> Self {
        match decoder {
            DecoderWrapper::ByteLevel(_) => Self::ByteLevel,
            DecoderWrapper::Metaspace(_) | DecoderWrapper::ByteFallback(_) => Self::Pieces,
            DecoderWrapper::Sequence(sequence) => {
                let mut spellings = sequence.get_decoders().iter().map(Self::of_decoder);
                spellings.find(|&spelling| spelling != Self::Decoded).unwrap_or(Self::Decoded)
            }
            _ => Self::Decoded,
        }
    }
}

/// Returns the number of bytes of text that a token which isn't special stands for.
pub(super) fn token_bytes(
    inner: &Inner,
    id: u32,
    token: &str,
    spelling: TokenSpelling,
) -> tokenizers::Result<usize> {
    Ok(match spelling {
        TokenSpelling::ByteLevel => token.chars().count(),
        TokenSpelling::Pieces if is_byte(token) => 1,
        TokenSpelling::Pieces => token.len() - token.matches('▁').count() * ('▁'.len_utf8() - 1),
        TokenSpelling::Decoded => inner.decode(&[id], true)?.len(),
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
