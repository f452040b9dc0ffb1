//! The rows that a run trains on, and those that it leaves out.

mod skipped_rows;
mod source;

pub use skipped_rows::{Detours, RowRange};
pub use source::RowSource;
