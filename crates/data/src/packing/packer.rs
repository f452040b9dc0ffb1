//! The rows of a part of a source.

use crate::config::Packing;
use crate::packing::disjoint::DisjointPacker;
use crate::packing::piece::RowPiece;
use crate::packing::row::{DocumentPart, Row, RowBuilder};
use crate::packing::stream::{PartialRow, StreamPacker};
use crate::packing::whole::WholePacker;
use crate::shards::SourceTokens;
use crate::split::TokenRanges;

/// The rows of a part of a source.
#[derive(Debug)]
pub(crate) struct Packer {
    kind: PackerKind,
    seq_len: usize,
    special: PackingTokens,
}

/// Token ids that packing depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackingTokens {
    /// Never a target at the start of a document.
    pub(crate) bos: Option<u32>,
    /// Ends the documents in stored rows.
    pub(crate) eos: Option<u32>,
    pub(crate) padding: u32,
}

#[derive(Debug)]
enum PackerKind {
    Stream(StreamPacker),
    Whole(WholePacker),
    Disjoint(DisjointPacker),
}

impl Packer {
    pub(crate) fn new(
        packing: Packing,
        tokens: &SourceTokens,
        spans: TokenRanges,
        seq_len: usize,
        last: PartialRow,
        special: PackingTokens,
    ) -> Self {
        let kind = match packing {
            Packing::Stream => PackerKind::Stream(StreamPacker::new(spans, seq_len, last)),
            Packing::Rows => PackerKind::Whole(WholePacker::new(tokens, spans, seq_len)),
        };
        Self { kind, seq_len, special }
    }

    /// Creates a packer of stored rows: each document of the source is one row.
    pub(crate) fn of_rows(tokens: &SourceTokens, seq_len: usize, special: PackingTokens) -> Self {
        Self {
            kind: PackerKind::Disjoint(DisjointPacker::new(tokens.documents(), special.eos)),
            seq_len,
            special,
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        match &self.kind {
            PackerKind::Stream(stream) => stream.rows(),
            PackerKind::Whole(whole) => whole.rows(),
            PackerKind::Disjoint(disjoint) => disjoint.rows(),
        }
    }

    pub(crate) fn row(&self, tokens: &SourceTokens, number: u64) -> Row {
        let mut row = RowBuilder::new(tokens, self.seq_len);
        match &self.kind {
            PackerKind::Stream(stream) => stream.pieces(tokens, number, |piece| {
                let begins = piece.tokens.start == piece.document_start;
                row.push(&piece, |first| !(begins && Some(first) == self.special.bos));
            }),
            PackerKind::Whole(whole) => whole.pieces(tokens, number, |piece| row.push(&piece, |_| false)),
            PackerKind::Disjoint(disjoint) => {
                disjoint.pieces(tokens, number, |piece| row.push(&piece, |_| true));
            }
        }
        row.finish(self.special.padding)
    }

    /// Returns the parts of documents that a row consists of.
    pub(crate) fn parts(&self, tokens: &SourceTokens, number: u64) -> Vec<DocumentPart> {
        let mut parts: Vec<DocumentPart> = Vec::new();
        let mut push = |piece: RowPiece| {
            let start = parts.last().map_or(0, |part| part.at.end);
            let len = (piece.tokens.end - piece.tokens.start) as usize;
            let first = piece.document_start;
            parts.push(DocumentPart {
                document: piece.document,
                tokens: piece.tokens.start - first..piece.tokens.end - first,
                at: start..start + len,
            });
        };
        match &self.kind {
            PackerKind::Stream(stream) => stream.pieces(tokens, number, &mut push),
            PackerKind::Whole(whole) => whole.pieces(tokens, number, &mut push),
            PackerKind::Disjoint(disjoint) => disjoint.pieces(tokens, number, &mut push),
        }
        parts
    }
}
