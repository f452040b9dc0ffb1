use super::trie::Trie;
use super::vocabulary::{Piece, PieceKind, Vocabulary};

/// How much less likely than the least likely piece a character without one is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The most probable pieces of a text (`unigram_model.cc`, its optimized encoder).
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    trie: Trie,
    /// The largest score of a piece, but more than zero.
    best: f32,
    unknown: f32,
}

/// The best way to a place in the text.
#[derive(Clone, Copy, Default)]
struct Path {
    score: f32,
    /// Where its last piece begins, and which that is; `None` where no way leads.
    last: Option<(usize, Option<u32>)>,
}

impl Unigram {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let pieces = vocabulary.text_pieces().filter(|(_, piece)| piece.kind != PieceKind::Unused);
        let keys = pieces.map(|(id, piece)| (&*piece.text, id)).collect::<Vec<_>>();
        let normal = vocabulary.text_pieces().filter(|(_, piece)| piece.kind == PieceKind::Normal);
        let scores = normal.map(|(_, piece)| piece.score).collect::<Vec<_>>();
        Ok(Self {
            trie: Trie::of(keys).ok_or("its pieces don't fit a trie")?,
            best: scores.iter().copied().fold(f32::MIN_POSITIVE, f32::max),
            unknown: scores.iter().copied().fold(f32::MAX, f32::min) - UNKNOWN_PENALTY,
        })
    }

    /// Appends the ids of normalized text.
    ///
    /// Sums are rounded as SentencePiece rounds them: what a choice far into a text compares depends on all before it.
    pub(super) fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) {
        let paths = self.best_paths(text, vocabulary);
        let mut pieces = Vec::with_capacity(text.len() / 3);
        let mut end = text.len();
        while let Some((begin, id)) = paths[end].last {
            pieces.push((begin..end, id));
            end = begin;
        }
        for (range, id) in pieces.into_iter().rev() {
            match id {
                Some(id) => ids.push(id),
                None => vocabulary.push_unknown(&text[range], ids),
            }
        }
    }

    fn best_paths(&self, text: &str, vocabulary: &Vocabulary) -> Vec<Path> {
        let mut paths = vec![Path::default(); text.len() + 1];
        for (begin, char) in text.char_indices() {
            let so_far = paths[begin].score;
            let mut extend = |len: usize, id: Option<u32>, score: f64| {
                let path = &mut paths[begin + len];
                if path.last.is_none() || score > f64::from(path.score) {
                    *path = Path { score: score as f32, last: Some((begin, id)) };
                }
            };
            let mut has_piece = false;
            for (len, id) in self.trie.prefixes(&text.as_bytes()[begin..]) {
                let Some(piece) = vocabulary.piece(id) else { continue };
                extend(len, Some(id), self.score(piece, len) + f64::from(so_far));
                has_piece |= len == char.len_utf8();
            }
            if !has_piece {
                extend(char.len_utf8(), None, f64::from(self.unknown + so_far));
            }
        }
        paths
    }

    /// A user-defined symbol is better than whatever its characters could be otherwise.
    fn score(&self, piece: &Piece, len: usize) -> f64 {
        match piece.kind {
            PieceKind::UserDefined => f64::from(len as f32 * self.best) - 0.1,
            _ => f64::from(piece.score),
        }
    }
}
