//! Readers of data files: JSON, JSON lines, CSV and Parquet.

pub(crate) mod parquet_records;
pub(crate) mod read;
