//! Rows and the origin of their tokens.

use std::ops::Range;

use crate::packing::piece::RowPiece;
use crate::shards::SourceTokens;

/// One row of training or validation text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `[seq_len + 1]` ids. The inputs are all but the last, the targets all but the first.
    pub tokens: Vec<u32>,
    /// `[seq_len]` flags: whether the target of each input counts in the loss. Never set for BOS, for padding
    /// and, if documents are packed whole, for the first token of a document.
    pub target_mask: Vec<bool>,
    /// `[seq_len]` numbers of the document of the row (0, 1, 2, ...) that each input belongs to. Padding is a
    /// document of its own.
    pub documents: Vec<u32>,
}

/// Origin of the tokens of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOrigin {
    /// Name of the source.
    pub source: String,
    /// Number of complete passes through the source before this row.
    pub epoch: u64,
    /// Number of the row within the source.
    pub row: u64,
    /// The documents in the row, in order.
    pub documents: Vec<DocumentPart>,
}

/// A part of a document, as part of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPart {
    /// Number of the document within the source.
    pub document: u64,
    /// Range of the tokens within the document.
    pub tokens: Range<u64>,
    /// Range of the tokens within [`Row::tokens`].
    pub at: Range<usize>,
}

/// Builds a row from pieces of documents, with one allocation for each of its three lists.
pub(crate) struct RowBuilder<'a> {
    tokens: &'a SourceTokens,
    seq_len: usize,
    row: Row,
    pieces: u32,
}

impl<'a> RowBuilder<'a> {
    pub(crate) fn new(tokens: &'a SourceTokens, seq_len: usize) -> Self {
        let row = Row {
            tokens: Vec::with_capacity(seq_len + 1),
            target_mask: vec![true; seq_len],
            documents: Vec::with_capacity(seq_len),
        };
        Self { tokens, seq_len, row, pieces: 0 }
    }

    /// Appends a piece. `is_target` is called with its first token, and returns whether that token counts as
    /// a target.
    pub(crate) fn push(&mut self, piece: &RowPiece, is_target: impl FnOnce(u32) -> bool) {
        let at = self.row.tokens.len();
        self.tokens.copy(piece.tokens.clone(), &mut self.row.tokens);
        if at > 0 {
            self.row.target_mask[at - 1] = is_target(self.row.tokens[at]);
        }
        self.row.documents.resize(self.row.tokens.len().min(self.seq_len), self.pieces);
        self.pieces += 1;
    }

    /// Returns the row, padded to its full length.
    pub(crate) fn finish(mut self, padding: u32) -> Row {
        let filled = self.row.tokens.len();
        self.row.tokens.resize(self.seq_len + 1, padding);
        self.row.documents.resize(self.seq_len, self.pieces);
        if filled <= self.seq_len {
            self.row.target_mask[filled.saturating_sub(1)..].fill(false);
        }
        self.row
    }
}
