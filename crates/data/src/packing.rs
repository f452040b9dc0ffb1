//! How the documents of a part of a source fill rows of `seq_len` inputs, each with the token that follows as its target.
//!
//! Rows that come ready ([`Packer::of_rows`]) are taken as they are: all but their first tokens are targets. Otherwise every token that has one before it in its stream or document is a target exactly once: neighbouring pieces of
//! the same text overlap by one token.

mod disjoint;
mod stream;
mod whole;

use std::ops::Range;

use crate::row::{Row, RowBuilder};
use crate::split::Spans;
use crate::tokens::Tokens;
use crate::{DocumentPart, Packing};
use disjoint::DisjointPacker;
use stream::StreamPacker;
use whole::WholePacker;

/// Consecutive tokens of one document, within one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) document: u64,
    /// First token of the document.
    pub(crate) document_start: u64,
    /// In the numbering of the source.
    pub(crate) tokens: Range<u64>,
}

/// What becomes of tokens that do not fill a last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// In training they would be padding at every epoch's end.
    Dropped,
    /// In validation each token counts.
    Padded,
}

/// The rows of a part of a source.
#[derive(Debug)]
pub(crate) struct Packer {
    kind: Kind,
    seq_len: usize,
    marks: RowMarks,
}

/// Ids that packing must know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowMarks {
    /// Never a target at the beginning of a document.
    pub(crate) bos: Option<u32>,
    /// Ends the documents in rows that come ready.
    pub(crate) eos: Option<u32>,
    pub(crate) padding: u32,
}

#[derive(Debug)]
enum Kind {
    Stream(StreamPacker),
    Whole(WholePacker),
    Disjoint(DisjointPacker),
}

impl Packer {
    pub(crate) fn new(
        packing: Packing,
        tokens: &Tokens,
        spans: Spans,
        seq_len: usize,
        rest: Rest,
        marks: RowMarks,
    ) -> Self {
        let kind = match packing {
            Packing::Stream => Kind::Stream(StreamPacker::new(spans, seq_len, rest)),
            Packing::Rows => Kind::Whole(WholePacker::new(tokens, spans, seq_len)),
        };
        Self { kind, seq_len, marks }
    }

    /// Rows that come ready: each document of the source is one.
    pub(crate) fn of_rows(tokens: &Tokens, seq_len: usize, marks: RowMarks) -> Self {
        Self { kind: Kind::Disjoint(DisjointPacker::new(tokens.documents(), marks.eos)), seq_len, marks }
    }

    pub(crate) fn rows(&self) -> u64 {
        match &self.kind {
            Kind::Stream(stream) => stream.rows(),
            Kind::Whole(whole) => whole.rows(),
            Kind::Disjoint(disjoint) => disjoint.rows(),
        }
    }

    pub(crate) fn row(&self, tokens: &Tokens, number: u64) -> Row {
        let mut row = RowBuilder::new(tokens, self.seq_len);
        match &self.kind {
            Kind::Stream(stream) => stream.pieces(tokens, number, |piece| {
                let begins = piece.tokens.start == piece.document_start;
                row.push(&piece, |first| !(begins && Some(first) == self.marks.bos));
            }),
            Kind::Whole(whole) => whole.pieces(tokens, number, |piece| row.push(&piece, |_| false)),
            Kind::Disjoint(disjoint) => disjoint.pieces(tokens, number, |piece| row.push(&piece, |_| true)),
        }
        row.finish(self.marks.padding)
    }

    /// The documents in a row.
    pub(crate) fn parts(&self, tokens: &Tokens, number: u64) -> Vec<DocumentPart> {
        let mut parts: Vec<DocumentPart> = Vec::new();
        let mut push = |piece: Piece| {
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
            Kind::Stream(stream) => stream.pieces(tokens, number, &mut push),
            Kind::Whole(whole) => whole.pieces(tokens, number, &mut push),
            Kind::Disjoint(disjoint) => disjoint.pieces(tokens, number, &mut push),
        }
        parts
    }
}
