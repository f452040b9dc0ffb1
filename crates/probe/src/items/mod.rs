//! Item rows: the scores of each choice of each item, and the Parquet files that keep them.

pub(crate) mod item_store;
