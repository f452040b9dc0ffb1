//! Normalization of text.

use crate::tokenizer::sentencepiece::proto::NormalizerProto;
use crate::tokenizer::sentencepiece::trie::Trie;

/// Spelling of a space in pieces.
pub(super) const SPACE: &str = "▁";

/// Normalization of a text before it is encoded: SentencePiece's `Normalizer`.
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    rules: Option<CharsMap>,
    symbols: Trie,
    pub(super) flags: NormalizerFlags,
}

/// Flags of a model's `normalizer_spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are as the model has them")]
pub(super) struct NormalizerFlags {
    /// Whether a space is added before each text (after it, with `whitespace_as_suffix`).
    pub(super) add_dummy_prefix: bool,
    /// Whether spaces at both ends are removed, and runs of them become one space.
    pub(super) remove_extra_whitespaces: bool,
    /// Whether spaces become `▁`.
    pub(super) escape_whitespaces: bool,
    /// Whether the added space comes after the text.
    pub(super) whitespace_as_suffix: bool,
}

/// A `precompiled_charsmap`: sequences of characters and their replacements. The longest sequence takes
/// precedence.
#[derive(Clone, Debug)]
struct CharsMap {
    /// Offset of the replacement of each sequence.
    sequences: Trie,
    /// Replacements, each terminated by NUL.
    replacements: String,
}

impl Normalizer {
    /// Creates a normalizer that doesn't change `symbols`.
    pub(super) fn new(
        spec: &NormalizerProto,
        symbols: Trie,
        whitespace_as_suffix: bool,
    ) -> Result<Self, String> {
        let flags = NormalizerFlags {
            add_dummy_prefix: spec.add_dummy_prefix(),
            remove_extra_whitespaces: spec.remove_extra_whitespaces(),
            escape_whitespaces: spec.escape_whitespaces(),
            whitespace_as_suffix,
        };
        let charsmap = spec.precompiled_charsmap();
        let rules = if charsmap.is_empty() { None } else { Some(CharsMap::of(charsmap)?) };
        Ok(Self { rules, symbols, flags })
    }

    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    pub(super) fn normalize(&self, text: &str) -> String {
        let NormalizerFlags {
            add_dummy_prefix,
            remove_extra_whitespaces,
            escape_whitespaces,
            whitespace_as_suffix,
        } = self.flags;
        let mut rest = text;
        while remove_extra_whitespaces && !rest.is_empty() {
            let (" ", behind) = self.next(rest) else { break };
            rest = behind;
        }
        if rest.is_empty() {
            return String::new();
        }
        let space = if escape_whitespaces { SPACE } else { " " };
        let mut normalized = String::with_capacity(text.len() + text.len() / 2 + SPACE.len());
        if add_dummy_prefix && !whitespace_as_suffix {
            normalized.push_str(space);
        }
        let mut behind_space = remove_extra_whitespaces;
        while !rest.is_empty() {
            let (mut replaced, behind) = self.next(rest);
            rest = behind;
            if behind_space {
                replaced = replaced.trim_start_matches(' ');
            }
            if replaced.is_empty() {
                continue;
            }
            behind_space = remove_extra_whitespaces && replaced.ends_with(' ');
            for (number, part) in replaced.split(' ').enumerate() {
                if number > 0 {
                    normalized.push_str(space);
                }
                normalized.push_str(part);
            }
        }
        if remove_extra_whitespaces {
            normalized.truncate(normalized.trim_end_matches(space).len());
        }
        if add_dummy_prefix && whitespace_as_suffix {
            normalized.push_str(space);
        }
        normalized
    }

    /// Returns the replacement of the next characters of a text that isn't empty, and the rest of the text.
    fn next<'t>(&'t self, text: &'t str) -> (&'t str, &'t str) {
        if let Some((len, _)) = self.symbols.longest_prefix(text.as_bytes()) {
            return text.split_at(len);
        }
        let rule = self.rules.as_ref().and_then(|rules| rules.longest(text));
        if let Some(replaced_and_rest) = rule {
            return replaced_and_rest;
        }
        if self.rules.is_some() || !self.symbols.is_empty() {
            return text.split_at(text.chars().next().map_or(0, char::len_utf8));
        }
        // Only spaces matter, so everything up to the next one is returned.
        match text.find(' ') {
            Some(0) => text.split_at(1),
            Some(at) => text.split_at(at),
            None => (text, ""),
        }
    }
}

impl CharsMap {
    /// Reads `<length of the trie in bytes, u32><trie><replacements>`.
    fn of(charsmap: &[u8]) -> Result<Self, String> {
        let damaged = || "its precompiled_charsmap is damaged".to_owned();
        let (len, rest) = charsmap.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (trie, replacements) =
            rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(damaged)?;
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| damaged())?;
        Ok(Self { sequences: Trie::from_bytes(trie), replacements })
    }

    /// Returns the replacement of the longest known sequence at the start of a text, and the rest of the
    /// text.
    fn longest<'t>(&'t self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let (len, at) = self.sequences.longest_prefix(text.as_bytes())?;
        // In a damaged model, either offset may be out of range or within a character.
        let (behind, replaced) = (text.get(len..)?, self.replacements.get(at as usize..)?);
        Some((replaced.split('\0').next()?, behind))
    }
}
