//! Random choices of writers.

use fineline_random::Stream;
use rand::{Rng, RngExt};

/// Side of a divided pool of material.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrawSide {
    /// Material of the training text.
    Training,
    /// Material of the items of probe tasks.
    Probe,
}

/// One key in this many belongs to the probe side.
const PROBE_SHARE: u64 = 8;

/// Random choices of one writer, on one side of the material.
///
/// The same code writes passages for training text and for items. They are kept apart by a *key* (the
/// operands of a sum with the things that are counted, or the people of a story): a hash of the key assigns
/// it to one side, and [`Draw::on_side`] draws until the key belongs to the side of the writer.
pub(crate) struct Draw {
    stream: Stream,
    seed: u64,
    side: DrawSide,
}

impl Draw {
    pub(crate) fn new(seed: u64, side: DrawSide, purpose: &str, index: u64) -> Self {
        Self { stream: Stream::new(seed, &format!("tinyworld/{purpose}"), index), seed, side }
    }

    /// Draws a number in `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.stream.random_range(0..bound)
    }

    /// Draws a number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        self.stream.random_range(low..=high)
    }

    /// Draws `true` with probability 1 / `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Draws `count` different elements in random order.
    pub(crate) fn sample<T: Copy>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut rest = from.to_vec();
        (0..count).map(|_| rest.swap_remove(self.below(rest.len()))).collect()
    }

    /// Draws `count` different elements other than `except`.
    pub(crate) fn others<T: Copy + PartialEq>(&mut self, from: &[T], except: T, count: usize) -> Vec<T> {
        let rest: Vec<T> = from.iter().copied().filter(|&other| other != except).collect();
        self.sample(&rest, count)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Draws with `make` until the key of the result belongs to the side of this writer.
    pub(crate) fn on_side<T>(
        &mut self,
        mut make: impl FnMut(&mut Self) -> T,
        key: impl Fn(&T) -> String,
    ) -> T {
        loop {
            let made = make(self);
            if side_of(self.seed, &key(&made)) == self.side {
                return made;
            }
        }
    }
}

fn side_of(seed: u64, key: &str) -> DrawSide {
    match Stream::new(seed, &format!("tinyworld/side/{key}"), 0).next_u64() % PROBE_SHARE {
        0 => DrawSide::Probe,
        _ => DrawSide::Training,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(side: DrawSide, index: u64) -> (usize, usize) {
        let mut draw = Draw::new(5, side, "test", index);
        draw.on_side(|d| (d.below(10), d.below(10)), |(a, b)| format!("{a}+{b}"))
    }

    #[test]
    fn sides_share_no_key() {
        let training: std::collections::BTreeSet<_> = (0..2000).map(|i| sum(DrawSide::Training, i)).collect();
        let probe: std::collections::BTreeSet<_> = (0..2000).map(|i| sum(DrawSide::Probe, i)).collect();
        assert!(training.is_disjoint(&probe));
        assert_eq!(training.len() + probe.len(), 100, "every key belongs to a side and is reached");
    }

    #[test]
    fn samples_are_distinct_and_leave_out_the_exception() {
        let mut draw = Draw::new(1, DrawSide::Training, "test", 0);
        let pool = [1, 2, 3, 4, 5];
        for _ in 0..100 {
            let mut drawn = draw.others(&pool, 3, 4);
            drawn.sort_unstable();
            assert_eq!(drawn, [1, 2, 4, 5]);
        }
    }

    #[test]
    fn shuffling_keeps_everything() {
        let mut items: Vec<u32> = (0..50).collect();
        Draw::new(1, DrawSide::Training, "test", 0).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
