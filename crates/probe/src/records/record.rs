//! A record of a data file.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::error::ProbeError;

/// A record of a data file, and its position.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) path: Arc<Path>,
    /// Counted from 1. In files without lines, the number of the record.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

impl Record {
    /// An error about this record, which is the item of this index.
    pub(crate) fn wrong(&self, item: usize, message: String) -> ProbeError {
        ProbeError::Record { path: self.path.to_path_buf(), line: self.line, item, message }
    }
}

/// The line number and value of each record, or why it is invalid.
pub(crate) type ParsedRecords = Vec<(usize, Result<Value, String>)>;
