//! Chooses the number of items of each evaluation round, so that probes stay within their budget.
//!
//! Each `[[probes]]` table has an account. It earns `budget` seconds per second of the run, and each round is
//! charged its duration. The cost of a round is predicted from the seconds per item of each task so far. The
//! schedule reads no clock: the caller passes the elapsed time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The smallest round evaluates this fraction of the items of the largest task, ...
const SMALLEST_PART: usize = 16;

/// ... within these bounds (or all items of a task): fewer items have too wide an interval, and this many are
/// enough for a task of any size.
const SMALLEST_ITEMS: RangeInclusive<usize> = 30..=100;

/// Ratio of neighbouring round sizes. It is small, so that consecutive rounds mostly evaluate the same items.
const STEP_OF_SIZE: f64 = 1.19;

/// Weight of the latest round in the estimated cost per item.
const WEIGHT_OF_LATEST: f64 = 0.5;

/// The account of one `[[probes]]` table.
#[derive(Clone, Debug)]
pub(crate) struct ProbeSchedule {
    /// Fraction of the time that rounds may take. `None` if there is no limit.
    budget: Option<f64>,
    /// Items of each task, by its name.
    tasks: BTreeMap<String, Items>,
    /// Estimated seconds of a round that don't belong to any item.
    overhead_s: f64,
    spent_s: f64,
}

#[derive(Clone, Copy, Debug)]
struct Items {
    total: usize,
    /// Estimated seconds per item. `None` before the first round.
    seconds: Option<f64>,
}

/// Size of a round that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundSize {
    /// All items.
    All,
    /// This number of items per task, or all items of a task that has fewer.
    Items(usize),
    /// No round: the budget doesn't allow the smallest one.
    Skip,
}

/// Time of a round that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTime {
    /// Seconds since the run started.
    pub(crate) elapsed_s: f64,
    /// Whether it is the round after the last step, which is never skipped.
    pub(crate) is_last: bool,
}

/// Cost of a task in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskCost<'a> {
    pub(crate) task: &'a str,
    pub(crate) items: usize,
    pub(crate) seconds: f64,
}

impl ProbeSchedule {
    /// Creates the schedule of tasks with these numbers of items.
    pub(crate) fn new(budget: Option<f64>, tasks: impl IntoIterator<Item = (String, usize)>) -> Self {
        let tasks = tasks.into_iter().map(|(task, total)| (task, Items { total, seconds: None }));
        Self { budget, tasks: tasks.collect(), overhead_s: 0.0, spent_s: 0.0 }
    }

    /// Chooses the size of a round that is due: the largest that the account can pay for. While the cost is
    /// unknown, this is the smallest.
    pub(crate) fn choose(&self, due: RoundTime) -> RoundSize {
        let Some(budget) = self.budget else { return RoundSize::All };
        let sizes = self.sizes();
        // The round itself takes time, for which the account earns too.
        let room = (budget * due.elapsed_s - self.spent_s) / (1.0 - budget);
        let affordable = |size: &&usize| self.predicted_seconds(**size).is_some_and(|price| price <= room);
        match sizes.iter().rev().find(affordable) {
            Some(size) => self.round_size(*size),
            None if due.is_last || self.is_first() => self.round_size(sizes[0]),
            None => RoundSize::Skip,
        }
    }

    /// Charges a round to the account: its total seconds, and the cost of each task.
    pub(crate) fn charge<'a>(&mut self, seconds: f64, costs: impl IntoIterator<Item = TaskCost<'a>>) {
        let is_first = self.is_first();
        let mut overhead = seconds;
        for cost in costs {
            overhead -= cost.seconds;
            if let Some(items) = self.tasks.get_mut(cost.task).filter(|_| cost.items > 0) {
                let latest = cost.seconds / cost.items as f64;
                items.seconds = Some(items.seconds.map_or(latest, |known| moving_average(known, latest)));
            }
        }
        let overhead = overhead.max(0.0);
        self.overhead_s = if is_first { overhead } else { moving_average(self.overhead_s, overhead) };
        self.spent_s += seconds;
    }

    /// Returns the fraction of `elapsed_s` seconds that rounds have taken.
    pub(crate) fn budget_used(&self, elapsed_s: f64) -> f64 {
        if elapsed_s > 0.0 { self.spent_s / elapsed_s } else { 0.0 }
    }

    fn is_first(&self) -> bool {
        self.tasks.values().all(|items| items.seconds.is_none())
    }

    fn largest(&self) -> usize {
        self.tasks.values().map(|items| items.total).max().unwrap_or(0)
    }

    fn round_size(&self, size: usize) -> RoundSize {
        if size < self.largest() { RoundSize::Items(size) } else { RoundSize::All }
    }

    /// Returns the sizes of rounds in ascending order, from the smallest to all items.
    fn sizes(&self) -> Vec<usize> {
        let largest = self.largest();
        let smallest = largest.div_ceil(SMALLEST_PART).clamp(*SMALLEST_ITEMS.start(), *SMALLEST_ITEMS.end());
        let growing =
            std::iter::successors(
                Some(smallest),
                |size| Some((*size as f64 * STEP_OF_SIZE).round() as usize),
            );
        growing.take_while(|size| *size < largest).chain([largest]).collect()
    }

    /// Predicts the seconds of a round of this size. `None` while no cost is known.
    fn predicted_seconds(&self, size: usize) -> Option<f64> {
        // A task without a cost so far, because it failed, counts as free.
        let of_task = |items: &Items| items.seconds.unwrap_or(0.0) * items.total.min(size) as f64;
        let known = !self.is_first();
        known.then(|| self.overhead_s + self.tasks.values().map(of_task).sum::<f64>())
    }
}

/// Returns an exponential moving average.
fn moving_average(known: f64, latest: f64) -> f64 {
    known + WEIGHT_OF_LATEST * (latest - known)
}

#[cfg(test)]
mod tests {
    use fineline_random::Stream;

    use super::*;

    /// A simulated task: the number of its items, and the seconds of each.
    #[derive(Clone, Copy)]
    struct Real {
        items: usize,
        seconds: f64,
    }

    /// A run with a simulated clock.
    struct Simulated {
        tasks: Vec<Real>,
        budget: f64,
        rounds: usize,
        /// Seconds of training between two rounds.
        interval: f64,
        overhead: f64,
        /// Standard deviation of the logarithm of each cost.
        noise: f64,
        /// Ratio of the cost of an item in the last round to that in the first.
        drift: f64,
    }

    #[derive(Debug)]
    struct Outcome {
        share: f64,
        sizes: Vec<Option<usize>>,
    }

    impl Simulated {
        fn new(tasks: &[(usize, f64)], interval: f64) -> Self {
            let tasks = tasks.iter().map(|&(items, seconds)| Real { items, seconds }).collect();
            Self { tasks, budget: 0.02, rounds: 50, interval, overhead: 0.1, noise: 0.3, drift: 1.0 }
        }

        fn schedule(&self) -> ProbeSchedule {
            let names = self.tasks.iter().enumerate().map(|(at, task)| (at.to_string(), task.items));
            ProbeSchedule::new(Some(self.budget), names)
        }

        fn run(&self) -> Outcome {
            let mut schedule = self.schedule();
            let mut noise = Stream::new(5, "noise", 0);
            let mut noisy = |seconds: f64| seconds * (self.noise * noise.normal()).exp();
            let (mut clock, mut spent, mut sizes) = (0.0, 0.0, Vec::new());
            for round in 0..=self.rounds {
                let is_last = round == self.rounds;
                let drift = self.drift.powf(round as f64 / self.rounds as f64);
                let size = match schedule.choose(RoundTime { elapsed_s: clock, is_last }) {
                    RoundSize::All => Some(usize::MAX),
                    RoundSize::Items(size) => Some(size),
                    RoundSize::Skip => None,
                };
                sizes.push(size);
                if let Some(size) = size {
                    let asked: Vec<(String, usize, f64)> = self
                        .tasks
                        .iter()
                        .enumerate()
                        .map(|(at, task)| {
                            let items = task.items.min(size);
                            (at.to_string(), items, drift * noisy(items as f64 * task.seconds))
                        })
                        .collect();
                    let seconds = asked.iter().map(|task| task.2).sum::<f64>() + noisy(self.overhead);
                    schedule.charge(
                        seconds,
                        asked.iter().map(|(task, items, seconds)| TaskCost {
                            task,
                            items: *items,
                            seconds: *seconds,
                        }),
                    );
                    clock += seconds;
                    spent += seconds;
                }
                if !is_last {
                    clock += noisy(self.interval);
                }
            }
            assert!((schedule.budget_used(clock) - spent / clock).abs() < 1e-12);
            Outcome { share: spent / clock, sizes }
        }
    }

    #[track_caller]
    fn assert_within_a_quarter(run: &Simulated) -> Outcome {
        let outcome = run.run();
        let off = outcome.share / run.budget;
        assert!((0.75..=1.25).contains(&off), "{off} of the budget: {outcome:?}");
        outcome
    }

    /// 0-shot multiple choice, few-shot multiple choice, generation.
    const MIX: [(usize, f64); 3] = [(10_042, 0.01), (1_172, 0.05), (250, 0.5)];

    #[test]
    fn fifty_rounds_keep_to_the_budget() {
        // All items of the mix take 284 s, and a round may take 2 % of the interval.
        for interval in [1_000.0, 3_000.0, 10_000.0] {
            let outcome = assert_within_a_quarter(&Simulated::new(&MIX, interval));
            let asked = outcome.sizes.iter().flatten().count();
            assert!(asked > 10, "{outcome:?}");
        }
        let one_task = Simulated::new(&[(200, 0.02)], 100.0);
        assert_within_a_quarter(&one_task);
        let many_small = Simulated::new(&[(100, 0.02); 30], 1_500.0);
        assert_within_a_quarter(&many_small);
        for drift in [0.2, 5.0] {
            assert_within_a_quarter(&Simulated { drift, ..Simulated::new(&MIX, 5_000.0) });
        }
        assert_within_a_quarter(&Simulated { overhead: 20.0, ..Simulated::new(&MIX, 5_000.0) });
        assert_within_a_quarter(&Simulated { noise: 0.8, ..Simulated::new(&MIX, 5_000.0) });
        assert_within_a_quarter(&Simulated { budget: 0.3, ..Simulated::new(&MIX, 300.0) });
    }

    #[test]
    fn where_the_smallest_round_is_dear_rounds_are_left_out() {
        // The smallest round takes 56 s, eight times what the account earns in an interval.
        let outcome = assert_within_a_quarter(&Simulated::new(&MIX, 350.0));
        assert!(outcome.sizes[0].is_some() && outcome.sizes[50].is_some(), "{outcome:?}");
        let skipped = outcome.sizes.iter().filter(|size| size.is_none()).count();
        assert!((30..48).contains(&skipped), "{outcome:?}");
        assert!(outcome.sizes.iter().flatten().all(|size| *size == 100), "{outcome:?}");
    }

    #[test]
    fn where_there_is_room_all_items_are_asked() {
        let roomy = Simulated::new(&MIX, 30_000.0);
        let outcome = roomy.run();
        assert!(outcome.share < 0.02);
        assert_eq!(outcome.sizes[0], Some(100), "nothing is known of the price yet");
        assert!(outcome.sizes[1..].iter().all(|size| *size == Some(usize::MAX)), "{outcome:?}");
    }

    #[test]
    fn without_a_budget_every_round_asks_all() {
        let mut schedule = ProbeSchedule::new(None, [("t".to_owned(), 1000)]);
        assert_eq!(schedule.choose(RoundTime { elapsed_s: 0.0, is_last: false }), RoundSize::All);
        schedule.charge(1e9, [TaskCost { task: "t", items: 1000, seconds: 1e9 }]);
        assert_eq!(schedule.choose(RoundTime { elapsed_s: 1.0, is_last: false }), RoundSize::All);
        assert!((schedule.budget_used(2e9) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn sizes_rise_from_the_smallest_to_all() {
        let sizes = |items: usize| ProbeSchedule::new(Some(0.1), [("t".to_owned(), items)]).sizes();
        let many = sizes(10_000);
        assert_eq!((many[0], *many.last().unwrap()), (100, 10_000));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1] && pair[1] as f64 <= 1.2 * pair[0] as f64));
        assert_eq!((sizes(100)[0], sizes(1_000)[0]), (30, 63));
        assert_eq!(sizes(20), [20]);
    }

    #[test]
    fn small_tasks_are_asked_whole_in_every_round() {
        let schedule = ProbeSchedule::new(Some(0.1), [("small".to_owned(), 20), ("tiny".to_owned(), 5)]);
        assert_eq!(schedule.choose(RoundTime { elapsed_s: 0.0, is_last: false }), RoundSize::All);
    }
}
