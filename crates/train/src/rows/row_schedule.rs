//! The rows of each step.

use std::ops::Range;

use crate::rows::skipped_rows::{RowRange, SkippedRows};

/// The rows of each step: a function of the global batch size and the skipped rows, and of nothing else.
///
/// Rows have indices from 0 in the order of the data. Steps are counted from 1.
///
/// ```
/// use fineline_train::{RowRange, RowSchedule};
///
/// let mut schedule = RowSchedule::without_skips(2);
/// assert_eq!(schedule.rows_of(2).collect::<Vec<_>>(), [2, 3]);
/// schedule.skip(RowRange { start: 2, end: 5 });
/// assert_eq!(schedule.rows_of(2).collect::<Vec<_>>(), [5, 6]);
/// assert_eq!(schedule.step_of(6), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSchedule {
    global_batch_size: u64,
    skipped_rows: SkippedRows,
}

impl RowSchedule {
    /// Schedules `global_batch_size` rows per step, without the skipped ones.
    #[must_use]
    pub fn new(global_batch_size: usize, skipped_rows: SkippedRows) -> Self {
        Self { global_batch_size: global_batch_size as u64, skipped_rows }
    }

    /// Schedules `global_batch_size` rows per step, with no row skipped.
    #[must_use]
    pub fn without_skips(global_batch_size: usize) -> Self {
        Self::new(global_batch_size, SkippedRows::default())
    }

    /// Returns the number of rows per step.
    #[must_use]
    pub fn global_batch_size(&self) -> u64 {
        self.global_batch_size
    }

    /// Returns the rows that are skipped.
    #[must_use]
    pub fn skipped_rows(&self) -> &SkippedRows {
        &self.skipped_rows
    }

    /// Skips more rows.
    pub fn skip(&mut self, rows: RowRange) {
        self.skipped_rows.skip(rows);
    }

    /// Returns the index of the first row of a step.
    #[must_use]
    pub fn first_row_of(&self, step: u64) -> u64 {
        self.skipped_rows.nth_kept_row((step - 1) * self.global_batch_size)
    }

    /// Returns the indices of all rows of a step.
    pub fn rows_of(&self, step: u64) -> impl Iterator<Item = u64> + '_ {
        self.rows_at(step, 0..self.global_batch_size as usize)
    }

    /// Returns the indices of the rows at these positions of a step's global batch.
    pub fn rows_at(&self, step: u64, positions: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        let before = (step - 1) * self.global_batch_size;
        let positions = before + positions.start as u64..before + positions.end as u64;
        positions.map(|position| self.skipped_rows.nth_kept_row(position))
    }

    /// Returns the indices that a step consumes: those of its rows, and those skipped between them and the
    /// rows of the step before.
    #[must_use]
    pub fn consumed_in(&self, step: u64) -> Range<u64> {
        self.end_of(step - 1)..self.end_of(step)
    }

    fn end_of(&self, step: u64) -> u64 {
        match step * self.global_batch_size {
            0 => 0,
            rows => self.skipped_rows.nth_kept_row(rows - 1) + 1,
        }
    }

    /// Returns the number of complete steps before the row of this index: those whose rows all precede it.
    #[must_use]
    pub fn steps_before(&self, row: u64) -> u64 {
        (row - self.skipped_rows.count_before(row)) / self.global_batch_size
    }

    /// Returns the step that trains on the row of this index. For a skipped row, that is the step of the next
    /// row that isn't skipped.
    #[must_use]
    pub fn step_of(&self, row: u64) -> u64 {
        self.steps_before(row) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(ranges: &[(u64, u64)]) -> RowSchedule {
        let mut schedule = RowSchedule::without_skips(4);
        for &(start, end) in ranges {
            schedule.skip(RowRange { start, end });
        }
        schedule
    }

    fn rows(schedule: &RowSchedule, steps: u64) -> Vec<u64> {
        (1..=steps).flat_map(|step| schedule.rows_of(step)).collect()
    }

    #[test]
    fn rows_are_consecutive_if_none_is_skipped() {
        assert_eq!(rows(&schedule(&[]), 3), (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn positions_select_rows_of_a_step() {
        let schedule = schedule(&[(5, 6)]);
        assert_eq!(schedule.rows_at(2, 1..3).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(schedule.first_row_of(3), 9);
    }

    /// Compared with the definition: the indices that are not skipped, in their order, in whatever order they
    /// were skipped.
    #[test]
    fn skipped_rows_are_never_trained_on() {
        let cases = [
            vec![(4, 8)],
            vec![(0, 4)],
            vec![(12, 16), (4, 8)],
            vec![(4, 8), (8, 12)],
            vec![(4, 12), (8, 10), (30, 31)],
            vec![(5, 6), (9, 10), (7, 8), (0, 1)],
            vec![(10, 20), (2, 12), (20, 24)],
            vec![(3, 3)],
        ];
        for ranges in cases {
            let schedule = schedule(&ranges);
            let kept = (0..).filter(|row| !ranges.iter().any(|&(start, end)| (start..end).contains(row)));
            assert_eq!(rows(&schedule, 5), kept.take(20).collect::<Vec<u64>>(), "{ranges:?}");
            let skipped = schedule.skipped_rows().ranges();
            assert!(skipped.windows(2).all(|pair| pair[0].end < pair[1].start), "{skipped:?}");
            for step in 1..=5 {
                let last = schedule.rows_of(step).last().unwrap();
                let end = schedule.consumed_in(step).end;
                assert_eq!(end, last + 1);
                assert_eq!(schedule.steps_before(end), step, "{ranges:?}");
                assert!(schedule.rows_of(step).all(|row| schedule.step_of(row) == step), "{ranges:?}");
                assert_eq!(schedule.consumed_in(step + 1).start, end);
            }
        }
    }

    #[test]
    fn steps_before_skipped_rows_stay_as_they_were() {
        let (before, after) = (schedule(&[(4, 8)]), schedule(&[(4, 8), (40, 48)]));
        assert_eq!(rows(&before, 9), rows(&after, 9));
        assert_ne!(rows(&before, 10), rows(&after, 10));
    }
}
