//! Rows of complete documents next to each other.

use std::collections::VecDeque;

use crate::packing::piece::RowPiece;
use crate::shards::SourceTokens;
use crate::split::TokenRanges;

/// Number of rows that are filled at the same time. More of them leave less padding and take longer.
const OPEN_ROWS: usize = 64;

/// Packer of complete documents by first fit into rows of `seq_len + 1` tokens. Longer documents are split.
///
/// The index is built once and takes eight bytes per piece and per row.
#[derive(Debug)]
pub(super) struct WholePacker {
    spans: TokenRanges,
    seq_len: u64,
    /// First token of each piece, row by row. The end of a piece follows from its document.
    starts: Vec<u64>,
    /// End of each row in `starts`.
    row_ends: Vec<u64>,
}

#[derive(Default)]
struct OpenRow {
    filled: u64,
    starts: Vec<u64>,
}

impl WholePacker {
    pub(super) fn new(tokens: &SourceTokens, spans: TokenRanges, seq_len: usize) -> Self {
        let mut this = Self { spans, seq_len: seq_len as u64, starts: Vec::new(), row_ends: Vec::new() };
        let mut open: VecDeque<OpenRow> = VecDeque::with_capacity(OPEN_ROWS);
        for range in this.spans.ranges().to_vec() {
            let mut at = range.start;
            while at < range.end {
                let end = tokens.document_at(at).tokens.end.min(range.end);
                // The last token of a piece is the first of the next, and a single token contains no target.
                while end - at > 1 {
                    let len = (end - at).min(this.seq_len + 1);
                    this.add_piece(&mut open, at, len);
                    at += len - 1;
                }
                at = end;
            }
        }
        for row in open {
            this.close(row);
        }
        this
    }

    /// Puts a piece into the first open row with enough room, or into a new row.
    fn add_piece(&mut self, open: &mut VecDeque<OpenRow>, start: u64, len: u64) {
        let room = self.seq_len + 1 - len;
        let row = if let Some(fits) = open.iter().position(|row| row.filled <= room) {
            fits
        } else {
            if open.len() == OPEN_ROWS {
                open.pop_front().into_iter().for_each(|oldest| self.close(oldest));
            }
            open.push_back(OpenRow::default());
            open.len() - 1
        };
        open[row].filled += len;
        open[row].starts.push(start);
        // A piece has at least two tokens.
        if open[row].filled >= self.seq_len {
            open.remove(row).into_iter().for_each(|full| self.close(full));
        }
    }

    fn close(&mut self, row: OpenRow) {
        self.starts.extend(row.starts);
        self.row_ends.push(self.starts.len() as u64);
    }

    pub(super) fn rows(&self) -> u64 {
        self.row_ends.len() as u64
    }

    pub(super) fn pieces(&self, tokens: &SourceTokens, row: u64, mut visit: impl FnMut(RowPiece)) {
        let row = row as usize;
        let first = row.checked_sub(1).map_or(0, |before| self.row_ends[before] as usize);
        for &start in &self.starts[first..self.row_ends[row] as usize] {
            let document = tokens.document_at(start);
            let end = document.tokens.end.min(self.spans.end_of(start)).min(start + self.seq_len + 1);
            let (number, document_start) = (document.number, document.tokens.start);
            visit(RowPiece { document: number, document_start, tokens: start..end });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Packing;
    use crate::packing::Row;
    use crate::packing::{Packer, PackingTokens, PartialRow};
    use crate::shards::tokens;
    use crate::split::split;
    use proptest::prelude::*;

    const SPECIAL: PackingTokens = PackingTokens { bos: Some(1), eos: None, padding: 0 };

    fn rows(documents: &[Vec<u32>], seq_len: usize) -> Vec<Row> {
        let (_dir, tokens) = tokens(&[documents.to_vec()]);
        let spans = split(&tokens, 0.0).training;
        let packer = Packer::new(Packing::Rows, &tokens, spans, seq_len, PartialRow::Drop, SPECIAL);
        (0..packer.rows()).map(|row| packer.row(&tokens, row)).collect()
    }

    #[test]
    fn documents_stay_whole_and_padding_is_masked() {
        let rows = rows(&[vec![1, 10, 11, 2], vec![1, 20, 21, 22, 2], vec![1, 2]], 6);
        assert_eq!(rows[0].tokens, [1, 10, 11, 2, 1, 2, 0]);
        assert_eq!(rows[0].target_mask, [true, true, true, false, true, false]);
        assert_eq!(rows[0].documents, [0, 0, 0, 0, 1, 1]);
        assert_eq!(rows[1].tokens, [1, 20, 21, 22, 2, 0, 0]);
        assert_eq!(rows[1].documents, [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn long_documents_are_split_with_one_token_of_overlap() {
        let rows = rows(&[(0..10).collect()], 4);
        let texts: Vec<&[u32]> = rows.iter().map(|row| &row.tokens[..]).collect();
        assert_eq!(texts, [&[0, 1, 2, 3, 4][..], &[4, 5, 6, 7, 8], &[8, 9, 0, 0, 0]]);
        assert_eq!(rows[2].target_mask, [true, false, false, false]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Every token but the first of its document is a target exactly once, with the token before it as
        /// input.
        #[test]
        fn every_target_counts_once(
            lengths in prop::collection::vec(0_u32..20, 1..80),
            seq_len in 1_usize..12,
        ) {
            let mut next = 2;
            let documents: Vec<Vec<u32>> = lengths.iter().map(|&len| {
                next += len;
                (next - len..next).collect()
            }).collect();
            let mut expected: Vec<(u32, u32)> =
                documents.iter().flat_map(|d| d.windows(2).map(|pair| (pair[0], pair[1]))).collect();
            let mut found = Vec::new();
            for row in rows(&documents, seq_len) {
                prop_assert_eq!((row.tokens.len(), row.documents.len()), (seq_len + 1, seq_len));
                let pairs = row.tokens.windows(2).zip(&row.target_mask).filter(|(_, counts)| **counts);
                found.extend(pairs.map(|(pair, _)| (pair[0], pair[1])));
            }
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
