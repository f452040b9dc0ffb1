//! Item rows: the scores of each choice of each item, and the Parquet files that keep them.

// A row.
pub(crate) mod item_row;

// Files of rows.
pub(crate) mod item_store;
