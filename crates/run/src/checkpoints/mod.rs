//! Checkpoints of a run: what they carry besides tensors, how they are named, and how one is found.

// Parts.
pub(crate) mod companions;
pub(crate) mod names;

// Reading and writing.
pub(crate) mod find;
pub(crate) mod writer;

pub use find::{find_checkpoint, find_weights};
