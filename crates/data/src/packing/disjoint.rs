//! Rows that are stored as they are.

use crate::packing::piece::RowPiece;
use crate::shards::SourceTokens;

/// Stored rows, which share no token: row `r` is document `r` of the shards. Each of its text documents ends
/// with EOS.
#[derive(Debug)]
pub(super) struct DisjointPacker {
    rows: u64,
    eos: Option<u32>,
}

impl DisjointPacker {
    pub(super) fn new(rows: u64, eos: Option<u32>) -> Self {
        Self { rows, eos }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Calls `visit` with a piece for each text document in the row. The row doesn't say whether the first of
    /// them starts there.
    pub(super) fn pieces(&self, tokens: &SourceTokens, row: u64, mut visit: impl FnMut(RowPiece)) {
        let stored = tokens.document(row).tokens;
        let mut ids = Vec::new();
        tokens.copy(stored.clone(), &mut ids);
        let mut start = stored.start;
        for piece in ids.split_inclusive(|&id| Some(id) == self.eos) {
            let end = start + piece.len() as u64;
            visit(RowPiece { document: row, document_start: start, tokens: start..end });
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::packing::{Packer, PackingTokens};
    use crate::shards::tokens;

    #[test]
    fn every_token_but_the_first_is_a_target() {
        let (_dir, tokens) = tokens(&[vec![vec![5, 6, 2, 7, 1], vec![8, 8, 8, 8, 2]]]);
        let packer = Packer::of_rows(&tokens, 4, PackingTokens { bos: Some(1), eos: Some(2), padding: 2 });
        assert_eq!(packer.rows(), 2);
        let row = packer.row(&tokens, 0);
        assert_eq!(row.tokens, [5, 6, 2, 7, 1]);
        assert_eq!((&row.target_mask[..], &row.documents[..]), (&[true; 4][..], &[0, 0, 0, 1][..]));
        let parts: Vec<_> = packer.parts(&tokens, 0).into_iter().map(|part| (part.tokens, part.at)).collect();
        assert_eq!(parts, [(0..3, 0..3), (0..2, 3..5)]);
        assert_eq!(packer.row(&tokens, 1).documents, [0; 4]);
    }
}
