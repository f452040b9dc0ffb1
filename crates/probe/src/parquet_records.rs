//! Records from Parquet files, as the hub has them.

use std::path::Path;

use fs_err as fs;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::ProbeError;

/// The rows of a Parquet file, each as an object.
pub(crate) fn parquet_records(path: &Path) -> Result<Vec<Value>, ProbeError> {
    let wrong = |error: parquet::errors::ParquetError| ProbeError::Record {
        path: path.to_owned(),
        line: 1,
        item: 0,
        message: format!("not Parquet: {error}"),
    };
    let (file, _) = fs::File::open(path)?.into_parts();
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let rows = reader.get_row_iter(None).map_err(wrong)?;
    rows.map(|row| Ok(row.map_err(wrong)?.to_json_value())).collect()
}
