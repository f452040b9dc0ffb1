use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Ranks, Threads};

/// What a rank does, seen from another thread of its process.
#[derive(Debug)]
pub struct Activity(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    doing: Doing,
    since: Instant,
    meetings: u64,
}

/// What a rank is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Its own work.
    Working,
    /// A meeting with the others, of this name: it waits until all have come.
    Meeting(&'static str),
    /// Something that may take long, of this name: the others have to wait.
    Busy(&'static str),
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(State { doing: Doing::Working, since: Instant::now(), meetings: 0 }))
    }
}

impl Activity {
    /// What the rank does, for how long it has done so, and how many meetings it has come to.
    #[must_use]
    pub fn now(&self) -> (Doing, Duration, u64) {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.doing, state.since.elapsed(), state.meetings)
    }

    /// Comes to a meeting of this name, and goes back to work when it is over.
    pub(crate) fn meeting<T>(&self, name: &'static str, meet: impl FnOnce() -> T) -> T {
        self.set(Doing::Meeting(name));
        let met = meet();
        self.set(Doing::Working);
        met
    }

    fn set(&self, doing: Doing) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meetings = state.meetings + u64::from(matches!(doing, Doing::Meeting(_)));
        *state = State { doing, since: Instant::now(), meetings };
    }
}

/// Ranks whose [`Activity`] tells when they wait for each other.
pub struct Watched<'a> {
    ranks: &'a dyn Ranks,
    threads: Option<Threads>,
    activity: Arc<Activity>,
}

impl<'a> Watched<'a> {
    /// These ranks, watched.
    #[must_use]
    pub fn new(ranks: &'a dyn Ranks) -> Self {
        let activity = Arc::default();
        let threads = ranks.threads().map(|threads| threads.watched(&activity));
        Self { ranks, threads, activity }
    }

    /// What this rank does.
    #[must_use]
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    fn meeting<T>(&self, name: &'static str, meet: impl FnOnce(&dyn Ranks) -> T) -> T {
        self.activity.meeting(name, || meet(self.ranks))
    }
}

impl Ranks for Watched<'_> {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn exchange(&self, sent: &[f32], sent_lens: &[usize], received: &mut [f32], received_lens: &[usize]) {
        self.meeting("an exchange of gradients", |ranks| {
            ranks.exchange(sent, sent_lens, received, received_lens);
        });
    }

    fn gather(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        self.meeting("putting parts together", |ranks| ranks.gather(own, all, lens));
    }

    fn broadcast(&self, words: Vec<u8>) -> Vec<u8> {
        self.meeting("a word of rank 0", |ranks| ranks.broadcast(words))
    }

    fn collect(&self, words: &[u8]) -> Vec<Vec<u8>> {
        self.meeting("a word of every rank", |ranks| ranks.collect(words))
    }

    fn wait_for_all(&self) {
        self.meeting("all to come", |ranks| ranks.wait_for_all());
    }

    fn threads(&self) -> Option<&Threads> {
        self.threads.as_ref()
    }

    fn begins(&self, what: &'static str) {
        self.activity.set(Doing::Busy(what));
    }

    fn abort(&self, code: i32) -> ! {
        self.ranks.abort(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alone, on_threads};

    #[test]
    fn a_rank_that_waits_is_seen_to_wait() {
        assert_waits_for("all to come", |ranks| ranks.wait_for_all());
        assert_waits_for("a sum among devices", |ranks| drop(ranks.threads().unwrap().show(1)));
    }

    /// A rank that comes early is seen at a meeting of this name, until the other has come.
    fn assert_waits_for(name: &'static str, wait: impl Fn(&dyn Ranks) + Sync) {
        let seen = Mutex::new(None);
        let early = |ranks: &dyn Ranks| {
            let watched = Watched::new(ranks);
            *seen.lock().unwrap() = Some(watched.activity());
            wait(&watched);
            Ok::<(), ()>(())
        };
        let late = |ranks: &dyn Ranks| {
            let activity = loop {
                let activity = seen.lock().unwrap().clone();
                match activity.filter(|activity| activity.now().0 != Doing::Working) {
                    Some(activity) => break activity,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(activity.now().0, Doing::Meeting(name));
            wait(ranks);
            Ok(())
        };
        on_threads(2, &Alone, early, late).unwrap();
        let (doing, _, meetings) = seen.lock().unwrap().take().unwrap().now();
        assert_eq!((doing, meetings), (Doing::Working, 1));
    }

    #[test]
    fn long_work_has_a_name() {
        let ranks = Watched::new(&Alone);
        let activity = ranks.activity();
        ranks.begins("probes");
        assert_eq!(activity.now().0, Doing::Busy("probes"));
        ranks.wait_for_all();
        assert_eq!(activity.now().0, Doing::Working);
    }
}
