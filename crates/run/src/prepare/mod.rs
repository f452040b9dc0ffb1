//! Inputs of a run: text, tokenizer, rows, suites.

// Parts.
mod cache_lock;
pub(crate) mod chunks;
mod corpus;
pub(crate) mod suites;

// All of them.
mod prepared;

pub use corpus::TINYWORLD;
pub use prepared::{Prepared, open_dataset, prepare};
pub use suites::suite_sources;
