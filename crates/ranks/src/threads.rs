//! Ranks that are threads of one process, alone or joined to those of other processes by the first of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::board::{AnotherLeft, Board, Post};
use crate::processes::{Link, NoLink, Processes};
use crate::{Activity, Ranks};

/// Stack of a rank's thread: what Linux gives the first one.
const STACK: usize = 8 << 20;

/// The ranks of one process, as one of them sees them.
#[derive(Clone)]
pub struct Threads {
    place: usize,
    board: Arc<Board>,
    /// Who is told of meetings.
    activity: Option<Arc<Activity>>,
}

impl Threads {
    /// Which of the process's ranks this one is, from 0.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// How many ranks the process has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.board.count
    }

    /// How many processes there are.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.board.size() / self.board.count
    }

    /// The same, with meetings told to whoever watches.
    pub(crate) fn watched(&self, activity: &Arc<Activity>) -> Self {
        Self { activity: Some(Arc::clone(activity)), ..self.clone() }
    }

    /// What each rank of the process holds up, in their order. Collective within the process.
    ///
    /// # Panics
    /// If they hold up values of different types.
    pub fn show<T: Any + Clone + Send>(&self, own: T) -> Vec<T> {
        self.meet(|| self.show_all(own))
    }

    /// Does what waits for the other ranks of the process.
    pub fn meet<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.activity {
            Some(activity) => activity.meeting("a sum among devices", work),
            None => work(),
        }
    }

    fn show_all<T: Any + Clone + Send>(&self, own: T) -> Vec<T> {
        *self.board.shelf(self.place) = Some(Box::new(own));
        self.board.meet();
        let shown = (0..self.count())
            .map(|place| {
                let held = self.board.shelf(place);
                held.as_deref()
                    .and_then(<dyn Any + Send>::downcast_ref::<T>)
                    .expect("all hold up the same")
                    .clone()
            })
            .collect();
        self.board.meet();
        *self.board.shelf(self.place) = None;
        shown
    }
}

/// One of several ranks that are threads of this process.
///
/// The link is how the ranks of other processes are reached: only the first of a process has one.
struct ThreadRanks<L> {
    threads: Threads,
    link: L,
}

impl<L: Link> ThreadRanks<L> {
    /// Leaves `own` for all to read, has the posts of other processes fetched, has all posts read, and returns when everybody has done so.
    fn meet<T>(&self, own: Post, fetch: impl FnOnce(&L, &Board), read: impl FnOnce(&Board) -> T) -> T {
        let board = &*self.threads.board;
        board.post(self.rank(), own);
        board.meet();
        if board.size() > board.count {
            fetch(&self.link, board);
            board.meet();
        }
        let found = read(board);
        board.meet();
        found
    }
}

impl<L: Link> Ranks for ThreadRanks<L> {
    fn rank(&self) -> usize {
        self.threads.board.first() + self.threads.place
    }

    fn size(&self) -> usize {
        self.threads.board.size()
    }

    fn threads(&self) -> Option<&Threads> {
        Some(&self.threads)
    }

    fn exchange(&self, sent: &[f32], sent_lens: &[usize], received: &mut [f32], received_lens: &[usize]) {
        let own = Post { lens: sent_lens.to_vec(), expected: received_lens.to_vec(), ..Post::values(sent) };
        self.meet(own, L::exchange, |board| {
            let parts = parts(received, received_lens);
            parts
                .enumerate()
                .for_each(|(rank, part)| part.copy_from_slice(board.read(rank).part(self.rank())));
        });
    }

    fn gather(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        self.meet(
            Post::values(own),
            |link, board| link.gather(board, lens),
            |board| {
                let parts = parts(all, lens);
                parts.enumerate().for_each(|(rank, part)| part.copy_from_slice(&board.read(rank).values));
            },
        );
    }

    fn broadcast(&self, words: Vec<u8>) -> Vec<u8> {
        self.meet(Post::words(words), L::broadcast, |board| board.read(0).words.clone())
    }

    fn collect(&self, words: &[u8]) -> Vec<Vec<u8>> {
        self.meet(Post::words(words.to_vec()), L::collect, |board| {
            (0..board.size()).map(|rank| board.read(rank).words.clone()).collect()
        })
    }

    #[allow(clippy::exit, clippy::disallowed_methods, reason = "it is what the caller asks for")]
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

/// Cuts `values` into parts of these lengths.
fn parts<'a>(values: &'a mut [f32], lens: &'a [usize]) -> impl Iterator<Item = &'a mut [f32]> {
    lens.iter().scan(values, |rest, &len| {
        let (part, behind) = std::mem::take(rest).split_at_mut(len);
        *rest = behind;
        Some(part)
    })
}

/// Makes `count` ranks of this process, each a thread, and gives back what the first comes to: it runs in the calling thread. A single
/// one is the process itself, as a rank.
///
/// `processes` are the processes that train together, as ranks. When one rank fails, those of the same process are taken down with it.
///
/// # Errors
/// The first that any rank of this process came to.
///
/// # Panics
/// If a thread can't be started, or the work of a rank panics.
pub fn on_threads<T, E: Send>(
    count: usize,
    processes: &dyn Ranks,
    first: impl FnOnce(&dyn Ranks) -> Result<T, E>,
    others: impl Fn(&dyn Ranks) -> Result<(), E> + Sync,
) -> Result<T, E> {
    if count == 1 {
        return first(processes);
    }
    let board = Arc::new(Board::new(count, processes.rank(), processes.size()));
    let place = |place| Threads { place, board: Arc::clone(&board), activity: None };
    let failure = Mutex::new(None);
    let (failure, others) = (&failure, &others);
    let value = std::thread::scope(|scope| {
        for place in (1..count).map(place) {
            let ranks = ThreadRanks { threads: place, link: NoLink };
            let name = format!("rank {}", ranks.rank());
            let work = move || {
                let _ = guarded(&ranks, failure, || others(&ranks));
            };
            // No thread, no rank: the meeting that it misses would never end.
            let started = std::thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, work);
            if let Err(error) = started {
                board.leave();
                panic!("a rank's thread can't be started: {error}");
            }
        }
        let first_ranks = ThreadRanks { threads: place(0), link: Processes(processes) };
        guarded(&first_ranks, failure, || first(&first_ranks))
    });
    match (failure.lock().unwrap_or_else(PoisonError::into_inner).take(), value) {
        (None, Some(value)) => Ok(value),
        (Some(error), _) => Err(error),
        (None, None) => unreachable!("the first rank is taken down by another's failure alone"),
    }
}

/// What a rank's work comes to; nothing if it fails, or another has: then the first failure is kept. A panic goes on.
fn guarded<T, E, L: Link>(
    ranks: &ThreadRanks<L>,
    failure: &Mutex<Option<E>>,
    work: impl FnOnce() -> Result<T, E>,
) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            ranks.threads.board.leave();
        }
        Err(panic) => {
            ranks.threads.board.leave();
            if !panic.is::<AnotherLeft>() {
                resume_unwind(panic);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alone;

    /// What each rank of `processes` processes, `count` ranks each, makes of `work`, in the order of ranks. The processes are threads, too.
    fn all<T: Send>(processes: usize, count: usize, work: impl Fn(&dyn Ranks) -> T + Sync) -> Vec<T> {
        let found = Mutex::new(Vec::new());
        let note = |ranks: &dyn Ranks| {
            let made = work(ranks);
            found.lock().unwrap().push((ranks.rank(), made));
            Ok::<(), ()>(())
        };
        let process = |process: &dyn Ranks| on_threads(count, process, note, note);
        on_threads(processes, &Alone, process, process).unwrap();
        let mut found = found.into_inner().unwrap();
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, made)| made).collect()
    }

    const SIZES: [(usize, usize); 6] = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 2)];

    /// Rank `i` sends `j + 1` values `10 i + j` to rank `j`.
    #[test]
    fn parts_of_any_length_reach_their_ranks() {
        for (processes, count) in SIZES {
            let size = processes * count;
            let found = all(processes, count, |ranks| {
                let own = ranks.rank();
                let sent: Vec<f32> = (0..size).flat_map(|j| vec![(10 * own + j) as f32; j + 1]).collect();
                let sent_lens: Vec<usize> = (1..=size).collect();
                let mut received = vec![0.0; size * (own + 1)];
                ranks.exchange(&sent, &sent_lens, &mut received, &vec![own + 1; size]);
                received
            });
            assert_eq!(found.len(), size);
            for (own, received) in found.into_iter().enumerate() {
                let expected: Vec<f32> =
                    (0..size).flat_map(|i| vec![(10 * i + own) as f32; own + 1]).collect();
                assert_eq!(received, expected, "{processes} x {count}");
            }
        }
    }

    #[test]
    fn parts_are_put_together_in_order() {
        for (processes, count) in SIZES {
            let lens: Vec<usize> = (0..processes * count).collect();
            let expected: Vec<f32> = lens.iter().flat_map(|&rank| vec![rank as f32; rank]).collect();
            for whole in all(processes, count, |ranks| {
                let own = vec![ranks.rank() as f32; ranks.rank()];
                let mut whole = vec![9.0; expected.len()];
                ranks.gather(&own, &mut whole, &lens);
                whole
            }) {
                assert_eq!(whole, expected);
            }
        }
    }

    #[test]
    fn words_of_one_and_of_all() {
        for (processes, count) in SIZES {
            let expected: Vec<Vec<u8>> =
                (0..processes * count).map(|rank| "rank".repeat(rank).into_bytes()).collect();
            for (said, collected, second) in all(processes, count, |ranks| {
                let own = "rank".repeat(ranks.rank()).into_bytes();
                let said = ranks.broadcast([b"by ".to_vec(), own.clone()].concat());
                (said, ranks.collect(&own), ranks.collect(&[ranks.rank() as u8]).concat())
            }) {
                assert_eq!(said, b"by ");
                assert_eq!(collected, expected);
                assert_eq!(second, (0..(processes * count) as u8).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn threads_of_a_process_show_each_other_what_they_like() {
        let shown = all(2, 3, |ranks| {
            let threads = ranks.threads().unwrap();
            assert_eq!((threads.processes(), threads.count()), (2, 3));
            threads.show(format!("{} in place {}", ranks.rank(), threads.place()))
        });
        assert_eq!(shown[1], ["0 in place 0", "1 in place 1", "2 in place 2"]);
        assert_eq!(shown[5], ["3 in place 0", "4 in place 1", "5 in place 2"]);
    }

    #[test]
    fn the_failure_of_one_takes_the_others_of_its_process_down() {
        for failing in 0..3 {
            let work = |ranks: &dyn Ranks| {
                if ranks.rank() == failing {
                    return Err(format!("rank {failing} is out of memory"));
                }
                ranks.wait_for_all();
                Ok(())
            };
            let error = on_threads(3, &Alone, work, work).unwrap_err();
            assert_eq!(error, format!("rank {failing} is out of memory"));
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_not_waited_for() {
        let first = |ranks: &dyn Ranks| {
            ranks.wait_for_all();
            Ok::<(), ()>(())
        };
        let others = |_: &dyn Ranks| -> Result<(), ()> { std::panic::resume_unwind(Box::new("a bug")) };
        let _ = on_threads(2, &Alone, first, others);
    }
}
