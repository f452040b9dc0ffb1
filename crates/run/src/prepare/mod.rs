//! From a configuration to what a run reads: text, tokenizer, rows, probes.

// Parts.
mod cache_lock;
pub(crate) mod chunks;
mod corpus;
pub(crate) mod suites;

// All of it.
mod prepared;

pub use corpus::TINYWORLD;
pub use prepared::{Prepared, open_dataset, prepare};
pub use suites::suite_sources;
