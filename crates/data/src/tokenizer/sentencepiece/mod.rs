//! SentencePiece's `.model` files: BPE and unigram models, with the ids of the `sentencepiece` package.
//!
//! LLaMA, OpenLLaMA and Mistral were trained with such models. `transformers` calls the package
//! (`LlamaTokenizer(use_fast=False, legacy=True)`), so the package is the reference, including ties and
//! rounding. `scripts/fixtures/sentencepiece.py` and `scripts/parity/sentencepiece_parity.py` compare this
//! module with it.
//!
//! None of the libraries that were tried gives the ids of the package for every model (measurements are in
//! `docs/concepts/tokenizers.md`). `kitoken` differs where spaces collapse, rules apply or symbols are
//! defined. `sentencepiece-rs` differs for unused pieces, and is slow. A `tokenizers` pipeline that is built
//! from the model has one rank per merge where SentencePiece has equal scores, and applies rules to graphemes
//! instead of the longest sequence. Bindings of the C++ library need a C++ toolchain for a few hundred lines
//! of code. The protobuf reader (`prost`) and the trie builder (`yada`) are libraries.
//!
//! One difference is intended: text is always encoded as text. A control symbol that is a single character is
//! encoded as the bytes of that character (or as unknown) here, and as the control symbol by SentencePiece.

// Ground: the file format and tries.
mod proto;
mod trie;

// Normalization of text, and the pieces of a model.
mod normalizer;
mod vocabulary;

// Encoders.
mod boundaries;
mod bpe;
mod unigram;

use std::fmt::Write;

use prost::Message;
use rayon::prelude::*;

use crate::boundary_tokens::BoundaryTokens;
use crate::error::Result;
use crate::tokenizer::word_cache::WordCache;
use boundaries::PieceBoundaries;
use normalizer::{Normalizer, SPACE};
use proto::{ModelProto, NormalizerProto, TrainerProto};
use trie::Trie;
use unigram::Unigram;
use vocabulary::{PieceKind, Vocabulary};

/// A SentencePiece model, ready to encode.
#[derive(Debug)]
pub(super) struct SentencePiece {
    normalizer: Normalizer,
    denormalizer: Option<Normalizer>,
    vocabulary: Vocabulary,
    algorithm: PieceAlgorithm,
    trainer: TrainerProto,
    /// Name of the rules of the normalizer (`nmt_nfkc`, `identity`) in the model.
    rules: String,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of a tokenizer")]
enum PieceAlgorithm {
    Bpe { symbols: Trie, boundaries: Option<PieceBoundaries>, word_cache: Box<WordCache> },
    Unigram(Unigram),
}

/// Smallest size of parts that are encoded in parallel, in bytes.
const PART_BYTES: usize = 8 << 10;

impl SentencePiece {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// A description of what is wrong with the file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let proto = ModelProto::decode(bytes)
            .map_err(|error| format!("it is no SentencePiece model, or damaged ({error})"))?;
        // Pieces come first in a file, so a file that is truncated after any of them is still a valid
        // message.
        let Some(trainer) = proto.trainer.filter(|_| !proto.pieces.is_empty()) else {
            return Err(
                "it has no pieces, or no trainer_spec behind them: it is no SentencePiece model, or cut off"
                    .to_owned(),
            );
        };
        let normalizer = proto.normalizer.unwrap_or_default();
        let vocabulary = Vocabulary::new(proto.pieces, trainer.byte_fallback())?;
        let algorithm = PieceAlgorithm::of(&trainer, &vocabulary)?;
        let denormalizer = proto.denormalizer.filter(|spec| !spec.precompiled_charsmap().is_empty());
        let denormalizer =
            denormalizer.map(|spec| Normalizer::new(&spec, Trie::default(), false)).transpose()?;
        Ok(Self {
            normalizer: text_normalizer(&normalizer, &trainer, &vocabulary)?,
            denormalizer,
            vocabulary,
            algorithm,
            trainer,
            rules: normalizer.name().to_owned(),
        })
    }

    /// Appends the ids of a text to `ids`.
    pub(super) fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let normalized = self.normalizer.normalize(text);
        let begin = ids.len();
        match &self.algorithm {
            PieceAlgorithm::Unigram(unigram) => unigram.encode(&normalized, &self.vocabulary, ids),
            PieceAlgorithm::Bpe { symbols, boundaries: None, .. } => {
                bpe::encode(&normalized, &self.vocabulary, symbols, ids);
            }
            PieceAlgorithm::Bpe { symbols, boundaries: Some(boundaries), word_cache } => {
                let encode_part = |part: &&str| {
                    let mut ids = Vec::with_capacity(part.len() / 3);
                    for word in boundaries.parts(part, 1) {
                        word_cache.encode(word, &mut ids, |word| Ok(self.encode_word(word, symbols)))?;
                    }
                    Ok(ids)
                };
                let parts = boundaries.parts(&normalized, PART_BYTES).collect::<Vec<_>>();
                let encoded = parts.par_iter().map(encode_part).collect::<Result<Vec<Vec<u32>>>>()?;
                ids.extend(encoded.into_iter().flatten());
            }
        }
        self.fuse_unknown(ids, begin);
        Ok(())
    }

    fn encode_word(&self, word: &str, symbols: &Trie) -> Vec<u32> {
        let mut ids = Vec::new();
        bpe::encode(word, &self.vocabulary, symbols, &mut ids);
        ids
    }

    /// Merges adjacent unknown ids into one.
    fn fuse_unknown(&self, ids: &mut Vec<u32>, begin: usize) {
        let unknown = self.vocabulary.unknown;
        if self.vocabulary.bytes.is_none() && ids[begin..].contains(&unknown) {
            let mut fused = ids.split_off(begin);
            fused.dedup_by(|a, b| *a == unknown && *b == unknown);
            ids.append(&mut fused);
        }
    }

    /// Returns the text of ids. Control symbols and ids outside the vocabulary are ignored.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let flags = self.normalizer.flags;
        let mut text = String::new();
        let mut bytes = Vec::new();
        let (mut at_begin, mut took_space) = (true, false);
        for piece in ids.iter().filter_map(|&id| self.vocabulary.piece(id)) {
            if let PieceKind::Byte(byte) = piece.kind {
                bytes.push(byte);
                continue;
            }
            push_bytes(&mut bytes, &mut text);
            at_begin &= !took_space && text.is_empty();
            took_space = false;
            match piece.kind {
                PieceKind::Control => {}
                PieceKind::Unknown => text.push_str(self.trainer.unk_surface()),
                _ => {
                    let strips = at_begin && (flags.add_dummy_prefix || flags.remove_extra_whitespaces);
                    let stripped = piece.text.strip_prefix(SPACE).filter(|_| strips);
                    // If runs of spaces collapse, all leading spaces are removed. Otherwise only the added
                    // one is.
                    took_space = stripped.is_some() && !flags.remove_extra_whitespaces;
                    text.push_str(&stripped.unwrap_or(&piece.text).replace(SPACE, " "));
                }
            }
        }
        push_bytes(&mut bytes, &mut text);
        match &self.denormalizer {
            Some(denormalizer) => denormalizer.normalize(&text),
            None => text,
        }
    }

    /// Returns the spelling of an id.
    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.vocabulary.piece(id).map(|piece| &*piece.text)
    }

    /// Returns the id of a spelling. Control symbols take precedence over text.
    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.vocabulary.id_of(token)
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// Returns the number of bytes of normalized text that an id stands for: 0 for control symbols and the
    /// unknown piece.
    pub(super) fn byte_len(&self, id: u32) -> usize {
        let Some(piece) = self.vocabulary.piece(id) else { return 0 };
        match piece.kind {
            PieceKind::Control | PieceKind::Unknown => 0,
            PieceKind::Byte(_) => 1,
            _ if self.normalizer.flags.escape_whitespaces => piece.text.replace(SPACE, " ").len(),
            _ => piece.text.len(),
        }
    }

    /// Returns BOS and EOS of the model: the control symbols with the names of its training.
    pub(super) fn boundary_tokens(&self) -> BoundaryTokens {
        let control = |name: &str| self.id_of(name).filter(|&id| self.is_control(id));
        BoundaryTokens { bos: control(self.trainer.bos_piece()), eos: control(self.trainer.eos_piece()) }
    }

    fn is_control(&self, id: u32) -> bool {
        self.vocabulary.piece(id).is_some_and(|piece| piece.kind == PieceKind::Control)
    }

    /// Returns the ids that aren't text, and user-defined symbols.
    pub(super) fn special_tokens(&self) -> Vec<u32> {
        let special = |kind| matches!(kind, PieceKind::Unknown | PieceKind::Control | PieceKind::UserDefined);
        self.vocabulary.pieces().filter(|(_, piece)| special(piece.kind)).map(|(id, _)| id).collect()
    }

    /// Returns the kind of model, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self.algorithm {
            PieceAlgorithm::Bpe { .. } => "SentencePiece BPE",
            PieceAlgorithm::Unigram(_) => "SentencePiece unigram",
        }
    }

    /// Returns the settings of normalization, by the names of the file format.
    pub(super) fn settings(&self) -> String {
        let flags = self.normalizer.flags;
        let mut settings = format!(
            "byte_fallback={} add_dummy_prefix={} remove_extra_whitespaces={} escape_whitespaces={}",
            self.trainer.byte_fallback(),
            flags.add_dummy_prefix,
            flags.remove_extra_whitespaces,
            flags.escape_whitespaces
        );
        if flags.whitespace_as_suffix {
            settings.push_str(" treat_whitespace_as_suffix=true");
        }
        let rules = match (self.rules.as_str(), self.normalizer.has_rules()) {
            ("", true) => "unnamed",
            ("", false) => "none",
            (name, _) => name,
        };
        // Writing to a string doesn't fail.
        let _ = write!(settings, " rules={rules}");
        settings
    }
}

impl PieceAlgorithm {
    fn of(trainer: &TrainerProto, vocabulary: &Vocabulary) -> Result<Self, String> {
        match trainer.model_type() {
            1 => Ok(Self::Unigram(Unigram::new(vocabulary)?)),
            2 => Ok(Self::Bpe {
                symbols: symbols(vocabulary)?,
                boundaries: PieceBoundaries::of_bpe(vocabulary),
                word_cache: Box::default(),
            }),
            3 => Err("it is a model of type WORD, but only BPE and UNIGRAM are supported".to_owned()),
            4 => Err("it is a model of type CHAR, but only BPE and UNIGRAM are supported".to_owned()),
            other => {
                Err(format!("it is a model of type {other}, but only 1 (UNIGRAM) and 2 (BPE) are supported"))
            }
        }
    }
}

fn symbols(vocabulary: &Vocabulary) -> Result<Trie, String> {
    let symbols = vocabulary.symbols().map(|(id, piece)| (&*piece.text, id)).collect();
    Trie::of(symbols).ok_or_else(|| "its user-defined symbols don't fit a trie".to_owned())
}

fn text_normalizer(
    spec: &NormalizerProto,
    trainer: &TrainerProto,
    vocabulary: &Vocabulary,
) -> Result<Normalizer, String> {
    Normalizer::new(spec, symbols(vocabulary)?, trainer.treat_whitespace_as_suffix())
}

/// Moves bytes to the end of a text, with a replacement character for each byte that isn't UTF-8.
fn push_bytes(bytes: &mut Vec<u8>, text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    bytes.clear();
}

#[cfg(test)]
mod tests;
