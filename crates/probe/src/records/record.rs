//! A record of a data file.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::error::ProbeError;

/// A record of a data file, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) path: Arc<Path>,
    /// From 1; in files without lines, the record's number.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

impl Record {
    /// An error of this record, which is this item.
    pub(crate) fn wrong(&self, item: usize, message: String) -> ProbeError {
        ProbeError::Record { path: self.path.to_path_buf(), line: self.line, item, message }
    }
}

/// Line by line, each value or what is wrong with it.
pub(crate) type ParsedRecords = Vec<(usize, Result<Value, String>)>;
