//! Packing of documents into rows of `seq_len` inputs, each with the next token as its target.
//!
//! In stored rows ([`Packer::of_rows`]), all tokens but the first are targets. Otherwise every token that has
//! a token before it in its stream or document is a target exactly once: adjacent pieces of the same text
//! overlap by one token.

// Pieces of documents, and rows of them.
mod piece;
mod row;

// Ways to fill rows.
mod disjoint;
mod stream;
mod whole;

// All of them behind one type.
mod packer;

pub use row::{DocumentPart, Row, RowOrigin};

pub(crate) use packer::{Packer, PackingTokens};
pub(crate) use stream::PartialRow;
