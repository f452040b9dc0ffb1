//! The BPE encoder.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use crate::tokenizer::sentencepiece::trie::Trie;
use crate::tokenizer::sentencepiece::vocabulary::{PieceKind, Vocabulary};

/// Appends the ids of normalized text.
///
/// Adjacent parts are merged as long as they form a piece, in descending order of scores, from left to right
/// among equal scores. Symbols are never merged (`bpe_model.cc`).
pub(super) fn encode(text: &str, vocabulary: &Vocabulary, symbols: &Trie, ids: &mut Vec<u32>) {
    let mut merger = BpeMerger {
        text,
        vocabulary,
        parts: split(text, symbols),
        merges: BinaryHeap::new(),
        unused: HashMap::new(),
    };
    for right in 1..merger.parts.len() {
        merger.consider(right - 1, right);
    }
    while let Some(merge) = merger.merges.pop() {
        merger.apply(&merge);
    }
    let mut at = Some(0).filter(|_| !merger.parts.is_empty());
    while let Some(index) = at {
        merger.push(merger.parts[index].begin..merger.parts[index].end, ids);
        at = merger.parts[index].next;
    }
}

/// A character, a symbol, or the result of merges.
struct BpePart {
    begin: usize,
    /// Equal to `begin` after this part was merged into its left neighbour.
    end: usize,
    is_symbol: bool,
    previous: Option<usize>,
    next: Option<usize>,
}

struct BpeMerger<'t> {
    text: &'t str,
    vocabulary: &'t Vocabulary,
    parts: Vec<BpePart>,
    merges: BinaryHeap<BpeMerge>,
    /// Byte offset at which each unused piece was joined last, and at which it is split again.
    unused: HashMap<&'t str, usize>,
}

#[derive(PartialEq)]
struct BpeMerge {
    score: f32,
    left: usize,
    right: usize,
    /// Length of both parts in bytes when this merge was found. If it has changed, the merge is void.
    len: usize,
}

impl Eq for BpeMerge {}

impl Ord for BpeMerge {
    fn cmp(&self, other: &Self) -> Ordering {
        // -0 and 0 are equal scores.
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for BpeMerge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn split(text: &str, symbols: &Trie) -> Vec<BpePart> {
    let mut parts: Vec<BpePart> = Vec::with_capacity(text.len());
    let mut begin = 0;
    while let Some(first) = text[begin..].chars().next() {
        let symbol = symbols.longest_prefix(&text.as_bytes()[begin..]);
        let end = begin + symbol.map_or(first.len_utf8(), |(len, _)| len);
        let index = parts.len();
        let next = (end < text.len()).then_some(index + 1);
        parts.push(BpePart { begin, end, is_symbol: symbol.is_some(), previous: index.checked_sub(1), next });
        begin = end;
    }
    parts
}

impl BpeMerger<'_> {
    fn consider(&mut self, left: usize, right: usize) {
        let (first, second) = (&self.parts[left], &self.parts[right]);
        if first.is_symbol || second.is_symbol {
            return;
        }
        let text = &self.text[first.begin..second.end];
        if let Some((_, piece)) = self.vocabulary.of_text(text) {
            self.merges.push(BpeMerge { score: piece.score, left, right, len: text.len() });
            if piece.kind == PieceKind::Unused {
                self.unused.insert(text, first.end - first.begin);
            }
        }
    }

    fn apply(&mut self, merge: &BpeMerge) {
        let (left, right) = (&self.parts[merge.left], &self.parts[merge.right]);
        let gone = left.begin == left.end || right.begin == right.end;
        if gone || left.end - left.begin + right.end - right.begin != merge.len {
            return;
        }
        let (end, next, previous) = (right.end, right.next, left.previous);
        let right = &mut self.parts[merge.right];
        right.end = right.begin;
        let left = &mut self.parts[merge.left];
        (left.end, left.next) = (end, next);
        if let Some(next) = next {
            self.parts[next].previous = Some(merge.left);
        }
        if let Some(previous) = previous {
            self.consider(previous, merge.left);
        }
        if let Some(next) = next {
            self.consider(merge.left, next);
        }
    }

    /// Appends the id of a part, or those of the parts of an unused piece.
    fn push(&self, range: std::ops::Range<usize>, ids: &mut Vec<u32>) {
        let mut pending = vec![&self.text[range]];
        while let Some(text) = pending.pop() {
            match (self.vocabulary.of_text(text), self.unused.get(text)) {
                (Some((_, piece)), Some(&at)) if piece.kind == PieceKind::Unused => {
                    let (left, right) = text.split_at(at);
                    pending.extend([right, left]);
                }
                (Some((id, _)), _) => ids.push(id),
                (None, _) => self.vocabulary.push_unknown(text, ids),
            }
        }
    }
}
