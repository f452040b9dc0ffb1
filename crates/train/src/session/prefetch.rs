//! Prefetching of rows.

use std::ops::{Range, RangeInclusive};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use fineline_data::Row;

use crate::rows::{RowSchedule, RowSource};

/// Iterator over the rows of each step. A thread makes the rows of the next step while the current one
/// computes.
pub(crate) struct Prefetch<'scope> {
    batches: Receiver<Vec<Row>>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Prefetch<'scope> {
    /// Starts the thread. It makes the rows at the positions `own` of the global batch, for each of `steps`,
    /// and ends after the last or when the iterator is dropped.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        source: &'env dyn RowSource,
        schedule: RowSchedule,
        own: Range<usize>,
        steps: RangeInclusive<u64>,
    ) -> Self {
        let (sender, batches) = sync_channel(1);
        let thread = scope.spawn(move || {
            for step in steps {
                let rows = schedule.rows_at(step, own.clone()).map(|index| source.row(index));
                if sender.send(rows.collect()).is_err() {
                    return;
                }
            }
        });
        Self { batches, thread: Some(thread) }
    }
}

impl Iterator for Prefetch<'_> {
    type Item = Vec<Row>;

    fn next(&mut self) -> Option<Vec<Row>> {
        let batch = self.batches.recv().ok();
        if batch.is_none() {
            // A panic of the source is a bug and is propagated.
            if let Some(Err(panic)) = self.thread.take().map(ScopedJoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowRange;

    struct Indices;

    impl RowSource for Indices {
        fn row(&self, index: u64) -> Row {
            Row { tokens: vec![index as u32], target_mask: vec![], documents: vec![] }
        }
    }

    /// Skips rows 6 and 7.
    fn schedule(global_batch_size: usize) -> RowSchedule {
        let mut schedule = RowSchedule::without_skips(global_batch_size);
        schedule.skip(RowRange { start: 6, end: 8 });
        schedule
    }

    #[test]
    fn steps_come_in_order_and_end() {
        std::thread::scope(|scope| {
            let batches = Prefetch::start(scope, &Indices, schedule(2), 0..2, 3..=5);
            let first_tokens: Vec<Vec<u32>> =
                batches.map(|rows| rows.iter().map(|row| row.tokens[0]).collect()).collect();
            assert_eq!(first_tokens, [[4, 5], [8, 9], [10, 11]]);
        });
    }

    #[test]
    fn a_rank_has_its_own_rows_only() {
        std::thread::scope(|scope| {
            let batches = Prefetch::start(scope, &Indices, RowSchedule::without_skips(4), 1..3, 1..=2);
            let first_tokens: Vec<Vec<u32>> =
                batches.map(|rows| rows.iter().map(|row| row.tokens[0]).collect()).collect();
            assert_eq!(first_tokens, [[1, 2], [5, 6]]);
        });
    }

    #[test]
    fn no_steps_give_no_batches() {
        let (next, last) = (6, 5);
        std::thread::scope(|scope| {
            assert_eq!(Prefetch::start(scope, &Indices, schedule(2), 0..2, next..=last).count(), 0);
        });
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        std::thread::scope(|scope| {
            let mut batches = Prefetch::start(scope, &Indices, schedule(1), 0..1, 1..=u64::MAX);
            batches.next();
        });
    }
}
