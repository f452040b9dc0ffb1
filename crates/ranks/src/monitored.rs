//! Ranks whose collectives are recorded, so that another thread can see which one a rank waits in.

use std::sync::Arc;

use crate::activity::{RankActivity, RankStatus};
use crate::rank_threads::RankThreads;
use crate::ranks::Ranks;

/// Ranks whose collectives are recorded in a [`RankActivity`].
pub struct MonitoredRanks<'a> {
    ranks: &'a dyn Ranks,
    threads: Option<RankThreads>,
    activity: Arc<RankActivity>,
}

impl<'a> MonitoredRanks<'a> {
    /// Wraps `ranks`, with a new activity.
    #[must_use]
    pub fn new(ranks: &'a dyn Ranks) -> Self {
        let activity = Arc::default();
        let threads = ranks.threads().map(|threads| threads.monitored(&activity));
        Self { ranks, threads, activity }
    }

    /// Returns the activity of this rank.
    #[must_use]
    pub fn activity(&self) -> Arc<RankActivity> {
        Arc::clone(&self.activity)
    }

    fn run_collective<T>(&self, name: &'static str, collective: impl FnOnce(&dyn Ranks) -> T) -> T {
        self.activity.run_collective(name, || collective(self.ranks))
    }
}

impl Ranks for MonitoredRanks<'_> {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_to_all_f32(
        &self,
        sent: &[f32],
        sent_lens: &[usize],
        received: &mut [f32],
        received_lens: &[usize],
    ) {
        self.run_collective("an all-to-all of gradients", |ranks| {
            ranks.all_to_all_f32(sent, sent_lens, received, received_lens);
        });
    }

    fn all_gather_f32(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        self.run_collective("an all-gather of values", |ranks| ranks.all_gather_f32(own, all, lens));
    }

    fn broadcast_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.run_collective("a broadcast from rank 0", |ranks| ranks.broadcast_bytes(bytes))
    }

    fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.run_collective("an all-gather of messages", |ranks| ranks.all_gather_bytes(bytes))
    }

    fn barrier(&self) {
        self.run_collective("a barrier", |ranks| ranks.barrier());
    }

    fn threads(&self) -> Option<&RankThreads> {
        self.threads.as_ref()
    }

    fn set_status(&self, name: &'static str) {
        self.activity.set(RankStatus::Busy(name));
    }

    fn abort(&self, code: i32) -> ! {
        self.ranks.abort(code)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::single::SingleRank;
    use crate::thread_ranks::run_on_threads;

    #[test]
    fn a_rank_that_waits_is_seen_to_wait() {
        assert_waits_for("a barrier", |ranks| ranks.barrier());
        assert_waits_for("a collective within the process", |ranks| {
            drop(ranks.threads().unwrap().all_gather(1));
        });
    }

    /// Asserts that a rank that arrives early is seen waiting in a collective of this name until the other
    /// arrives.
    fn assert_waits_for(name: &'static str, wait: impl Fn(&dyn Ranks) + Sync) {
        let seen = Mutex::new(None);
        let early = |ranks: &dyn Ranks| {
            let monitored = MonitoredRanks::new(ranks);
            *seen.lock().unwrap() = Some(monitored.activity());
            wait(&monitored);
            Ok::<(), ()>(())
        };
        let late = |ranks: &dyn Ranks| {
            let activity = loop {
                let activity = seen.lock().unwrap().clone();
                match activity.filter(|activity| activity.snapshot().status != RankStatus::Working) {
                    Some(activity) => break activity,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(activity.snapshot().status, RankStatus::Waiting(name));
            wait(ranks);
            Ok(())
        };
        run_on_threads(2, &SingleRank, early, late).unwrap();
        let snapshot = seen.lock().unwrap().take().unwrap().snapshot();
        assert_eq!((snapshot.status, snapshot.collectives), (RankStatus::Working, 1));
    }

    #[test]
    fn long_work_has_a_name() {
        let ranks = MonitoredRanks::new(&SingleRank);
        let activity = ranks.activity();
        ranks.set_status("probes");
        assert_eq!(activity.snapshot().status, RankStatus::Busy("probes"));
        ranks.barrier();
        assert_eq!(activity.snapshot().status, RankStatus::Working);
    }
}
