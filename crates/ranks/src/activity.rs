//! The current activity of a rank, shared with a thread that watches it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The current activity of a rank, readable from other threads of its process.
#[derive(Debug)]
pub struct RankActivity(Mutex<ActivityState>);

#[derive(Clone, Copy, Debug)]
struct ActivityState {
    status: RankStatus,
    since: Instant,
    collectives: u64,
}

/// Status of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankStatus {
    /// Its own work.
    Working,
    /// A collective of this name, which blocks until all ranks have called it.
    Waiting(&'static str),
    /// Work of this name that may take long. The other ranks have to wait for it.
    Busy(&'static str),
}

/// A [`RankActivity`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivitySnapshot {
    /// Status of the rank.
    pub status: RankStatus,
    /// Time since the status last changed.
    pub elapsed: Duration,
    /// Number of collectives that the rank has entered so far.
    pub collectives: u64,
}

impl Default for RankActivity {
    fn default() -> Self {
        Self(Mutex::new(ActivityState { status: RankStatus::Working, since: Instant::now(), collectives: 0 }))
    }
}

impl RankActivity {
    /// Returns the status of the rank at this moment.
    #[must_use]
    pub fn snapshot(&self) -> ActivitySnapshot {
        let ActivityState { status, since, collectives } =
            *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ActivitySnapshot { status, elapsed: since.elapsed(), collectives }
    }

    /// Runs a collective of this name with the status [`Waiting`](RankStatus::Waiting), and sets
    /// [`Working`](RankStatus::Working) after it.
    pub(crate) fn run_collective<T>(&self, name: &'static str, collective: impl FnOnce() -> T) -> T {
        self.set(RankStatus::Waiting(name));
        let result = collective();
        self.set(RankStatus::Working);
        result
    }

    pub(crate) fn set(&self, status: RankStatus) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let collectives = state.collectives + u64::from(matches!(status, RankStatus::Waiting(_)));
        *state = ActivityState { status, since: Instant::now(), collectives };
    }
}
