use std::collections::HashSet;

use crate::tokenizer::sentencepiece::vocabulary::{PieceKind, Vocabulary};

/// Where normalized text may be cut so that the pieces of its parts are the pieces of the whole: between two characters that no piece
/// has side by side.
///
/// A piece is made of smaller ones by merging neighbours, so none ever reaches over such a place; a merge on one side of it changes
/// nothing on the other; and of two merges on the same side the same one comes first, whether the other side is there or not. Of
/// user-defined symbols the same holds, since they are found from left to right and none reaches over the place either.
///
/// It doesn't hold for pieces that come apart again because they aren't used: SentencePiece takes them apart as it last saw them
/// joined, wherever that was. Nor for unigram models, whose sums of probabilities are rounded: of two ways that are almost
/// equally good, which one is taken depends on how far into the text they are.
#[derive(Clone, Debug)]
pub(super) struct PieceBoundaries {
    /// By the first character, a bit for each second one.
    ascii: Box<[u128; 128]>,
    others: HashSet<(char, char)>,
}

impl PieceBoundaries {
    /// `None` where pieces depend on all of the text.
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

    /// The parts of a text in order, each cut at the first place behind `least` bytes (at least 1) where it may.
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
