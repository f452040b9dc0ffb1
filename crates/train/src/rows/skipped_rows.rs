//! Rows that a run skips.

use serde::{Deserialize, Serialize};

/// A range of row indices, `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange {
    /// The first index.
    pub start: u64,
    /// The index after the last.
    pub end: u64,
}

/// The rows that a run skips.
///
/// They are indices of rows, not steps: skipping more rows doesn't bring back rows that were skipped before,
/// and doesn't change the rows of any step before them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SkippedRows(
    /// Ascending, separated from each other, none empty.
    Vec<RowRange>,
);

impl SkippedRows {
    /// Returns the skipped ranges, ascending and separated from each other.
    #[must_use]
    pub fn ranges(&self) -> &[RowRange] {
        &self.0
    }

    /// Returns whether no row is skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Skips more rows. They may overlap those that are skipped already.
    pub fn skip(&mut self, rows: RowRange) {
        if rows.start >= rows.end {
            return;
        }
        let (separate, touching): (Vec<RowRange>, Vec<RowRange>) =
            self.0.iter().partition(|other| other.end < rows.start || other.start > rows.end);
        let merged = touching.iter().fold(rows, |all, other| RowRange {
            start: all.start.min(other.start),
            end: all.end.max(other.end),
        });
        self.0 = separate;
        let index = self.0.partition_point(|other| other.start < merged.start);
        self.0.insert(index, merged);
    }

    /// Returns the index of the `n`th row (from 0) that isn't skipped.
    #[must_use]
    pub fn nth_kept_row(&self, n: u64) -> u64 {
        let skip_range = |row: u64, skipped: &RowRange| {
            if skipped.start <= row { row + (skipped.end - skipped.start) } else { row }
        };
        self.0.iter().fold(n, skip_range)
    }

    /// Returns the number of skipped rows before the row of this index.
    #[must_use]
    pub fn count_before(&self, row: u64) -> u64 {
        self.0.iter().map(|range| range.end.min(row).saturating_sub(range.start)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_rows_round_trip_through_json() {
        let mut skipped = SkippedRows::default();
        skipped.skip(RowRange { start: 4, end: 8 });
        skipped.skip(RowRange { start: 40, end: 48 });
        let json = serde_json::to_string(&skipped).unwrap();
        assert_eq!(json, r#"[{"start":4,"end":8},{"start":40,"end":48}]"#);
        assert_eq!(serde_json::from_str::<SkippedRows>(&json).unwrap(), skipped);
    }
}
