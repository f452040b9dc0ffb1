//! The unigram encoder.

use crate::tokenizer::sentencepiece::trie::Trie;
use crate::tokenizer::sentencepiece::vocabulary::{PieceKind, Vocabulary, VocabularyPiece};

/// Difference between the score of the least likely piece and that of a character without a piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Largest sum of scores before sums are reset to zero, so that they keep their precision in a long text.
const LARGEST_SUM: f32 = 100_000.0;

/// Encoder by the most probable segmentation, equal to the optimized encoder of SentencePiece 0.2.3
/// (`unigram_model.cc`).
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    trie: Trie,
    unknown: f32,
}

/// The best segmentation that ends at a byte of the text. There is one per byte, so it is small.
#[derive(Clone, Copy, Default)]
struct BestPath {
    score: f32,
    /// The last piece, or [`UNKNOWN`].
    id: u32,
    /// Length of the last piece in bytes. 0 if there is no segmentation.
    len: u32,
}

/// Id of a character without a piece.
const UNKNOWN: u32 = u32::MAX;

impl Unigram {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let pieces = vocabulary.text_pieces().filter(|(_, piece)| piece.kind != PieceKind::Unused);
        let keys = pieces.map(|(id, piece)| (&*piece.text, id)).collect::<Vec<_>>();
        let normal = vocabulary.text_pieces().filter(|(_, piece)| piece.kind == PieceKind::Normal);
        let least = normal.map(|(_, piece)| piece.score).fold(f32::MAX, f32::min);
        Ok(Self {
            trie: Trie::of(keys).ok_or("its pieces don't fit a trie")?,
            unknown: least - UNKNOWN_PENALTY,
        })
    }

    /// Appends the ids of normalized text.
    pub(super) fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) {
        let paths = self.best_paths(text, vocabulary);
        let first = ids.len();
        let mut end = text.len();
        while paths[end].len > 0 {
            let begin = end - paths[end].len as usize;
            match paths[end].id {
                UNKNOWN => {
                    let from = ids.len();
                    vocabulary.push_unknown(&text[begin..end], ids);
                    ids[from..].reverse();
                }
                id => ids.push(id),
            }
            end = begin;
        }
        ids[first..].reverse();
    }

    /// Returns the best segmentation for each byte.
    ///
    /// Sums are rounded as in SentencePiece, because the choice between two almost equally good segmentations
    /// depends on it.
    fn best_paths(&self, text: &str, vocabulary: &Vocabulary) -> Vec<BestPath> {
        let mut paths = vec![BestPath::default(); text.len() + 1];
        let mut reached = 0;
        for (begin, char) in text.char_indices() {
            let offset = paths[begin].score;
            if offset.abs() > LARGEST_SUM {
                for path in paths[begin..=reached].iter_mut().filter(|path| path.len > 0) {
                    path.score -= offset;
                }
            }
            let so_far = paths[begin].score;
            let mut extend = |len: usize, id: u32, score: f32| {
                let (path, score) = (&mut paths[begin + len], score + so_far);
                reached = reached.max(begin + len);
                if path.len == 0 || score > path.score {
                    *path = BestPath { score, id, len: len as u32 };
                }
            };
            let mut has_piece = false;
            for (len, id) in self.trie.prefixes(&text.as_bytes()[begin..]) {
                let Some(piece) = vocabulary.piece(id) else { continue };
                extend(len, id, score(piece, len));
                has_piece |= len == char.len_utf8();
            }
            if !has_piece {
                extend(char.len_utf8(), UNKNOWN, self.unknown);
            }
        }
        paths
    }
}

/// Returns the score of a piece. A user-defined symbol is preferred to any other segmentation of its
/// characters.
fn score(piece: &VocabularyPiece, len: usize) -> f32 {
    match piece.kind {
        PieceKind::UserDefined => (0.1 * (len as f64 - 1.0)) as f32,
        _ => piece.score,
    }
}
