//! Writers of text and items about the world, one module per domain.
//!
//! A writer of documents takes the facts of a world and a [`Draw`] and returns a text. A writer of items also
//! takes the index of the right answer among the choices.
//!
//! [`Draw`]: crate::draw::Draw

// Parts that several domains share.
mod common;

// Domains.
pub(crate) mod arithmetic;
pub(crate) mod commonsense;
pub(crate) mod comparison;
pub(crate) mod examination;
pub(crate) mod knowledge;
pub(crate) mod language;
pub(crate) mod reading;
pub(crate) mod stories;
pub(crate) mod word_games;
