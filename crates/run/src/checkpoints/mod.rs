//! Checkpoints of a run: their companion files, their names, how one is found, and how they are written.

// Companion files and names.
pub(crate) mod companions;
pub(crate) mod names;

// Reading and writing.
pub(crate) mod find;
pub(crate) mod writer;

pub use find::{find_checkpoint, find_weights};
