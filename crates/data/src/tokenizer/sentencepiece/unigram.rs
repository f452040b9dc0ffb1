use super::trie::Trie;
use super::vocabulary::{Piece, PieceKind, Vocabulary};

/// How much less likely than the least likely piece a character without one is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Sums beyond this start anew at zero, so that they don't lose their last digits in a long text.
const LARGEST_SUM: f32 = 100_000.0;

/// The most probable pieces of a text, as the optimized encoder of SentencePiece 0.2.3 finds them (`unigram_model.cc`).
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    trie: Trie,
    unknown: f32,
}

/// The best way to a place in the text.
#[derive(Clone, Copy, Default)]
struct Path {
    score: f32,
    /// Where its last piece begins, and which that is (`None`: unknown); `None` where no way leads.
    last: Option<(usize, Option<u32>)>,
}

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

    /// Sums are rounded as SentencePiece rounds them: which of two ways that are almost equally good is taken depends on it.
    fn best_paths(&self, text: &str, vocabulary: &Vocabulary) -> Vec<Path> {
        let mut paths = vec![Path::default(); text.len() + 1];
        let mut reached = 0;
        for (begin, char) in text.char_indices() {
            let offset = paths[begin].score;
            if offset.abs() > LARGEST_SUM {
                for path in paths[begin..=reached].iter_mut().filter(|path| path.last.is_some()) {
                    path.score -= offset;
                }
            }
            let so_far = paths[begin].score;
            let mut extend = |len: usize, id: Option<u32>, score: f32| {
                let (path, score) = (&mut paths[begin + len], score + so_far);
                reached = reached.max(begin + len);
                if path.last.is_none() || score > path.score {
                    *path = Path { score, last: Some((begin, id)) };
                }
            };
            let mut has_piece = false;
            for (len, id) in self.trie.prefixes(&text.as_bytes()[begin..]) {
                let Some(piece) = vocabulary.piece(id) else { continue };
                extend(len, Some(id), score(piece, len));
                has_piece |= len == char.len_utf8();
            }
            if !has_piece {
                extend(char.len_utf8(), None, self.unknown);
            }
        }
        paths
    }
}

/// A user-defined symbol is better than whatever its characters could be otherwise.
fn score(piece: &Piece, len: usize) -> f32 {
    match piece.kind {
        PieceKind::UserDefined => (0.1 * (len as f64 - 1.0)) as f32,
        _ => piece.score,
    }
}
