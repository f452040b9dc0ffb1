//! Readers of data files: JSON, JSON lines, CSV and Parquet.

// The record type.
pub(crate) mod record;

// File formats.
pub(crate) mod parquet_records;

// Files and directories.
pub(crate) mod read;
