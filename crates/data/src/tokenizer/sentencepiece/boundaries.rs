//! Places where normalized text may be cut.

use std::collections::HashSet;

use crate::tokenizer::sentencepiece::vocabulary::{PieceKind, Vocabulary};

/// Places where normalized text may be cut such that the pieces of its parts are the pieces of the whole:
/// between two characters that no piece contains next to each other.
///
/// A piece is the result of merging adjacent smaller pieces, so none ever crosses such a place. A merge on
/// one side of it changes nothing on the other side, and of two merges on the same side the same one is
/// first, whether or not the other side is present. The same holds for user-defined symbols, because they are
/// found from left to right and none crosses the place.
///
/// It doesn't hold for unused pieces, which are split again: SentencePiece splits them where they were joined
/// last, wherever that was. Nor does it hold for unigram models, whose sums of probabilities are rounded:
/// which of two almost equally good segmentations is selected depends on their position in the text.
#[derive(Clone, Debug)]
pub(super) struct PieceBoundaries {
    /// Bit set of second characters, by first character.
    ascii: Box<[u128; 128]>,
    others: HashSet<(char, char)>,
}

impl PieceBoundaries {
    /// Returns the boundaries of a BPE model, or `None` if its pieces depend on the whole text.
    pub(super) fn of_bpe(vocabulary: &Vocabulary) -> Option<Self> {
        let mut this = Self { ascii: Box::new([0; 128]), others: HashSet::new() };
        for (_, piece) in vocabulary.text_pieces() {
            let mut pairs = piece.text.chars().zip(piece.text.chars().skip(1)).peekable();
            if piece.kind == PieceKind::Unused && pairs.peek().is_some() {
                return None;
            }
            pairs.for_each(|pair| this.join(pair));
        }
        Some(this)
    }

    fn join(&mut self, (left, right): (char, char)) {
        if left.is_ascii() && right.is_ascii() {
            self.ascii[left as usize] |= 1 << right as u32;
        } else {
            self.others.insert((left, right));
        }
    }

    fn are_joined(&self, left: char, right: char) -> bool {
        if left.is_ascii() && right.is_ascii() {
            self.ascii[left as usize] >> right as u32 & 1 == 1
        } else {
            self.others.contains(&(left, right))
        }
    }

    /// Returns the parts of a text in order, each cut at the first possible place after at least `least`
    /// bytes (at least 1).
    pub(super) fn parts<'t>(&self, text: &'t str, least: usize) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let (part, behind) = rest.split_at(self.first_cut(rest, least));
            rest = behind;
            (!part.is_empty()).then_some(part)
        })
    }

    fn first_cut(&self, text: &str, least: usize) -> usize {
        let from = text.floor_char_boundary(least - 1);
        let mut chars = text[from..].char_indices();
        let Some((_, mut left)) = chars.next() else { return text.len() };
        for (at, right) in chars {
            if from + at >= least && !self.are_joined(left, right) {
                return from + at;
            }
            left = right;
        }
        text.len()
    }
}
