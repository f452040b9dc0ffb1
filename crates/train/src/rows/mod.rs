//! The rows that a run trains on: where they come from, which of them each step has, and which are skipped.

// Indices of rows.
mod skipped_rows;

// Rows by index, rows by step.
mod row_schedule;
mod row_source;

pub use row_schedule::RowSchedule;
pub use row_source::RowSource;
pub use skipped_rows::{RowRange, SkippedRows};
