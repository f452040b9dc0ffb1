//! Item rows: the scores of each choice of each item, and the Parquet files that store them.

// A row.
pub(crate) mod item_row;

// The store of rows.
pub(crate) mod item_store;
