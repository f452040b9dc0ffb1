use tokenizers::Tokenizer as Inner;

use super::spelling::Spelling;

/// How many bytes of text each id stands for, so that the bytes of any run of tokens can be summed.
///
/// Exact where a tokenizer keeps every byte of its text, as byte-level BPE and SentencePiece with byte fallback do; where one
/// normalizes (NFC, lower case), these are the bytes of the normalized text.
#[derive(Clone, Debug)]
pub(super) struct ByteLengths {
    lengths: Vec<u16>,
    prefix: usize,
}

impl ByteLengths {
    pub(super) fn of(inner: &Inner, vocab_size: usize) -> tokenizers::Result<Self> {
        let spelling = Spelling::of(inner);
        let added = inner.get_added_tokens_decoder();
        let lengths = (0..vocab_size as u32).map(|id| {
            let length = match (added.get(&id), inner.id_to_token(id)) {
                (Some(added), _) if added.special => 0,
                (Some(added), _) => added.content.len(),
                (None, Some(token)) => token_bytes(inner, id, &token, spelling)?,
                (None, None) => 0,
            };
            Ok(u16::try_from(length).unwrap_or(u16::MAX))
        });
        let lengths = lengths.collect::<tokenizers::Result<Vec<_>>>()?;
        let mut this = Self { lengths, prefix: 0 };
        let probe = inner.encode_fast("a", false)?;
        let bytes: usize = probe.get_ids().iter().map(|&id| this.of_token(id)).sum();
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

fn token_bytes(inner: &Inner, id: u32, token: &str, spelling: Spelling) -> tokenizers::Result<usize> {
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
