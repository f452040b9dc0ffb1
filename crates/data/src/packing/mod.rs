//! How the documents of a part of a source fill rows of `seq_len` inputs, each with the token that follows as its target.
//!
//! Rows that come ready ([`Packer::of_rows`]) are taken as they are: all but their first tokens are targets. Otherwise every token that has one before it in its stream or document is a target exactly once: neighbouring pieces of
//! the same text overlap by one token.

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
