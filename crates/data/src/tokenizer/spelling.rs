use tokenizers::{DecoderWrapper, Tokenizer as Inner};

/// How a vocabulary spells the bytes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One character a byte (GPT-2): `Ġ` for a space, `Ċ` for a line break.
    ByteLevel,
    /// Text with `▁` for a space, and `<0xHH>` for a byte that has no token (SentencePiece).
    Pieces,
    /// Anything else: as it decodes on its own.
    Decoded,
}

impl Spelling {
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
