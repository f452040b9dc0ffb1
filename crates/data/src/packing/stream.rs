//! Rows cut from one contiguous stream of documents.

use crate::packing::piece::RowPiece;
use crate::shards::SourceTokens;
use crate::split::TokenRanges;

/// Handling of tokens that do not fill a last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartialRow {
    /// For training, where they would be padding at the end of every epoch.
    Drop,
    /// For validation, where every token counts.
    Pad,
}

/// Packer of one contiguous stream: row `r` is the tokens from `r * seq_len` to `(r + 1) * seq_len`, both
/// included.
#[derive(Debug)]
pub(super) struct StreamPacker {
    spans: TokenRanges,
    seq_len: u64,
    rows: u64,
}

impl StreamPacker {
    pub(super) fn new(spans: TokenRanges, seq_len: usize, last: PartialRow) -> Self {
        let seq_len = seq_len as u64;
        let targets = spans.len().saturating_sub(1);
        let rows = match last {
            PartialRow::Drop => targets / seq_len,
            PartialRow::Pad => targets.div_ceil(seq_len),
        };
        Self { spans, seq_len, rows }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn pieces(&self, tokens: &SourceTokens, row: u64, mut visit: impl FnMut(RowPiece)) {
        let mut at = row * self.seq_len;
        let end = (at + self.seq_len + 1).min(self.spans.len());
        while at < end {
            let rest = self.spans.from(at);
            let document = tokens.document_at(rest.start);
            let stop = rest.end.min(document.tokens.end).min(rest.start + (end - at));
            at += stop - rest.start;
            let piece = rest.start..stop;
            visit(RowPiece {
                document: document.number,
                document_start: document.tokens.start,
                tokens: piece,
            });
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

    const SPECIAL: PackingTokens = PackingTokens { bos: Some(1), eos: None, padding: 0 };

    fn rows(documents: &[Vec<u32>], seq_len: usize, last: PartialRow) -> Vec<Row> {
        let (_dir, tokens) = tokens(&[documents.to_vec()]);
        let packer =
            Packer::new(Packing::Stream, &tokens, split(&tokens, 0.0).training, seq_len, last, SPECIAL);
        (0..packer.rows()).map(|row| packer.row(&tokens, row)).collect()
    }

    #[test]
    fn rows_overlap_by_one_and_bos_is_no_target() {
        let rows = rows(&[vec![1, 10, 2], vec![1, 20, 21, 22, 2], vec![30, 2]], 4, PartialRow::Drop);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].tokens, [1, 10, 2, 1, 20]);
        assert_eq!(rows[0].target_mask, [true, true, false, true]);
        assert_eq!(rows[0].documents, [0, 0, 0, 1]);
        // The last document has no BOS: its first token is predicted from the end of the one before.
        assert_eq!(rows[1].tokens, [20, 21, 22, 2, 30]);
        assert_eq!((&rows[1].target_mask[..], &rows[1].documents[..]), (&[true; 4][..], &[0; 4][..]));
    }

    #[test]
    fn the_last_validation_row_is_padded() {
        let rows = rows(&[vec![1, 10, 2], vec![1, 20, 21]], 4, PartialRow::Pad);
        assert_eq!(rows[1].tokens, [20, 21, 0, 0, 0]);
        assert_eq!(rows[1].target_mask, [true, false, false, false]);
        assert_eq!(rows[1].documents, [0, 0, 1, 1]);
    }

    #[test]
    fn too_little_for_a_row_makes_none() {
        assert!(rows(&[vec![1, 2, 3]], 3, PartialRow::Drop).is_empty());
        assert_eq!(rows(&[vec![1, 2, 3]], 2, PartialRow::Drop).len(), 1);
        assert!(rows(&[vec![1]], 3, PartialRow::Pad).is_empty());
        assert!(rows(&[vec![]], 3, PartialRow::Pad).is_empty());
    }
}
