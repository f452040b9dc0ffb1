//! Rows that a run leaves out.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Rows by their numbers in the run: from `start` up to `end`, which is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange {
    /// The first.
    pub start: u64,
    /// The one after the last.
    pub end: u64,
}

/// Rows that a run leaves out. Which rows a step trains on follows from these and the size of a batch, and nothing else.
///
/// Left out are numbers of rows, not steps: a second detour doesn't bring back what the first left out, and no step before a
/// detour sees other rows because of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Detours(
    /// Ascending, apart from one another, none empty.
    Vec<RowRange>,
);

impl Detours {
    /// What is left out, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[RowRange] {
        &self.0
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves rows out from now on, besides those that are left out already.
    pub fn leave_out(&mut self, rows: RowRange) {
        if rows.start >= rows.end {
            return;
        }
        let (apart, touching): (Vec<RowRange>, Vec<RowRange>) =
            self.0.iter().partition(|other| other.end < rows.start || other.start > rows.end);
        let merged = touching.iter().fold(rows, |all, other| RowRange {
            start: all.start.min(other.start),
            end: all.end.max(other.end),
        });
        self.0 = apart;
        let place = self.0.partition_point(|other| other.start < merged.start);
        self.0.insert(place, merged);
    }

    /// The number of the row that is trained on as the `nth` (from 0) of the run.
    #[must_use]
    pub fn row_index(&self, nth: u64) -> u64 {
        let pass = |row: u64, left_out: &RowRange| {
            if left_out.start <= row { row + (left_out.end - left_out.start) } else { row }
        };
        self.0.iter().fold(nth, pass)
    }

    /// The numbers of the rows of a step (counted from 1) of `global_batch_size` rows.
    pub fn rows_of_step(&self, step: u64, global_batch_size: u64) -> impl Iterator<Item = u64> + '_ {
        ((step - 1) * global_batch_size..step * global_batch_size).map(|nth| self.row_index(nth))
    }

    /// All numbers that are behind the run with a step and were not before it: its rows, and those left out between them and the
    /// rows of the step before.
    #[must_use]
    pub fn passed_in_step(&self, step: u64, global_batch_size: u64) -> Range<u64> {
        let end = |step: u64| match step * global_batch_size {
            0 => 0,
            rows => self.row_index(rows - 1) + 1,
        };
        end(step - 1)..end(step)
    }

    /// How many whole steps it takes until every row before the one of this number has been trained on, or left out.
    #[must_use]
    pub fn steps_until(&self, row: u64, global_batch_size: u64) -> u64 {
        let left_out: u64 = self.0.iter().map(|range| range.end.min(row).saturating_sub(range.start)).sum();
        (row - left_out) / global_batch_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detours(ranges: &[(u64, u64)]) -> Detours {
        let mut detours = Detours::default();
        for &(start, end) in ranges {
            detours.leave_out(RowRange { start, end });
        }
        detours
    }

    fn rows(detours: &Detours, steps: u64) -> Vec<u64> {
        (1..=steps).flat_map(|step| detours.rows_of_step(step, 4)).collect()
    }

    #[test]
    fn without_detours_rows_come_one_after_another() {
        assert_eq!(rows(&Detours::default(), 3), (0..12).collect::<Vec<_>>());
    }

    /// Against the definition: the numbers that are not left out, in their order, whatever the order in which detours were made.
    #[test]
    fn what_is_left_out_never_comes() {
        let made = [
            vec![(4, 8)],
            vec![(0, 4)],
            vec![(12, 16), (4, 8)],
            vec![(4, 8), (8, 12)],
            vec![(4, 12), (8, 10), (30, 31)],
            vec![(5, 6), (9, 10), (7, 8), (0, 1)],
            vec![(10, 20), (2, 12), (20, 24)],
            vec![(3, 3)],
        ];
        for ranges in made {
            let detours = detours(&ranges);
            let kept = (0..).filter(|row| !ranges.iter().any(|&(start, end)| (start..end).contains(row)));
            assert_eq!(rows(&detours, 5), kept.take(20).collect::<Vec<u64>>(), "{ranges:?}");
            assert!(detours.0.windows(2).all(|pair| pair[0].end < pair[1].start), "{detours:?}");
            for step in 1..=5 {
                let last = detours.rows_of_step(step, 4).last().unwrap();
                let end = detours.passed_in_step(step, 4).end;
                assert_eq!(end, last + 1);
                assert_eq!(detours.steps_until(end, 4), step, "{ranges:?}");
                assert_eq!(detours.passed_in_step(step + 1, 4).start, end);
            }
        }
    }

    #[test]
    fn steps_before_a_detour_are_as_they_were() {
        let (before, after) = (detours(&[(4, 8)]), detours(&[(4, 8), (40, 48)]));
        assert_eq!(rows(&before, 9), rows(&after, 9));
        assert_ne!(rows(&before, 10), rows(&after, 10));
    }

    #[test]
    fn they_read_back_as_they_were() {
        let detours = detours(&[(4, 8), (40, 48)]);
        let text = serde_json::to_string(&detours).unwrap();
        assert_eq!(text, r#"[{"start":4,"end":8},{"start":40,"end":48}]"#);
        assert_eq!(serde_json::from_str::<Detours>(&text).unwrap(), detours);
    }
}
