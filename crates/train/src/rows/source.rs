//! The source of a run's rows.

use fineline_data::{Dataset, Row};

/// Where the rows of a run come from. Row `i` of step `s` (from 1) has the index `(s - 1) * global_batch_size + i`, as long as no rows are
/// [left out](Detours).
pub trait RowSource: Sync {
    /// The row at `index`: a function of it alone.
    fn row(&self, index: u64) -> Row;

    /// The index after the last row of the chunk that the row at `index` belongs to; none where there are no chunks.
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
