//! The source of a run's rows.

use fineline_data::{Dataset, Row};

/// A source of rows by their index. [`RowSchedule`](crate::RowSchedule) decides which rows a step has.
pub trait RowSource: Sync {
    /// Returns the row of this index. The row depends on the index alone.
    fn row(&self, index: u64) -> Row;

    /// Returns the index after the last row of the chunk that contains this row, or `None` if the data has no
    /// chunks.
    fn chunk_end(&self, index: u64) -> Option<u64> {
        let _ = index;
        None
    }
}

impl RowSource for Dataset {
    fn row(&self, index: u64) -> Row {
        Self::row(self, index)
    }

    fn chunk_end(&self, index: u64) -> Option<u64> {
        let chunk = self.chunks().iter().find(|chunk| chunk.rows.contains(&index))?;
        Some(chunk.rows.end)
    }
}
