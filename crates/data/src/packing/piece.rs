//! Pieces of documents in rows.

use std::ops::Range;

/// Consecutive tokens of one document within one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowPiece {
    pub(crate) document: u64,
    /// First token of the document.
    pub(crate) document_start: u64,
    /// Token numbers within the source.
    pub(crate) tokens: Range<u64>,
}
