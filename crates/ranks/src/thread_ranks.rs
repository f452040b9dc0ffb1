//! Ranks that are threads of one process, alone or linked to those of other processes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mailboxes::{Mailboxes, PeerFailed, RankMessage};
use crate::process_link::{LinkOfFirst, NoLink, ProcessLink};
use crate::rank_threads::RankThreads;
use crate::ranks::Ranks;

/// Stack size of a rank's thread in bytes: the default of the main thread on Linux.
const STACK: usize = 8 << 20;

/// One of several ranks that are threads of this process.
///
/// The link reaches the ranks of other processes. Only the first rank of a process has one that does
/// something.
struct ThreadRank<L> {
    threads: RankThreads,
    link: L,
}

impl<L: ProcessLink> ThreadRank<L> {
    /// Runs one collective: writes `own` into this rank's mailbox, lets the link fill those of other
    /// processes' ranks, and reads. Returns once all ranks of the process have read.
    fn run_collective<T>(
        &self,
        own: RankMessage,
        fetch: impl FnOnce(&L, &Mailboxes),
        read: impl FnOnce(&Mailboxes) -> T,
    ) -> T {
        let mailboxes = self.threads.mailboxes();
        mailboxes.write(self.rank(), own);
        mailboxes.wait_at_barrier();
        if mailboxes.size() > mailboxes.count {
            fetch(&self.link, mailboxes);
            mailboxes.wait_at_barrier();
        }
        let result = read(mailboxes);
        mailboxes.wait_at_barrier();
        result
    }
}

impl<L: ProcessLink> Ranks for ThreadRank<L> {
    fn rank(&self) -> usize {
        self.threads.mailboxes().first_rank() + self.threads.index()
    }

    fn size(&self) -> usize {
        self.threads.mailboxes().size()
    }

    fn threads(&self) -> Option<&RankThreads> {
        Some(&self.threads)
    }

    fn all_to_all_f32(
        &self,
        sent: &[f32],
        sent_lens: &[usize],
        received: &mut [f32],
        received_lens: &[usize],
    ) {
        let own = RankMessage {
            lens: sent_lens.to_vec(),
            received_lens: received_lens.to_vec(),
            ..RankMessage::from_values(sent)
        };
        self.run_collective(own, L::all_to_all_f32, |mailboxes| {
            let parts = split_by_lens(received, received_lens);
            parts
                .enumerate()
                .for_each(|(rank, part)| part.copy_from_slice(mailboxes.read(rank).values_for(self.rank())));
        });
    }

    fn all_gather_f32(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        self.run_collective(
            RankMessage::from_values(own),
            |link, mailboxes| link.all_gather_f32(mailboxes, lens),
            |mailboxes| {
                let parts = split_by_lens(all, lens);
                parts.enumerate().for_each(|(rank, part)| part.copy_from_slice(&mailboxes.read(rank).values));
            },
        );
    }

    fn broadcast_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.run_collective(RankMessage::from_bytes(bytes), L::broadcast_bytes, |mailboxes| {
            mailboxes.read(0).bytes.clone()
        })
    }

    fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.run_collective(RankMessage::from_bytes(bytes.to_vec()), L::all_gather_bytes, |mailboxes| {
            (0..mailboxes.size()).map(|rank| mailboxes.read(rank).bytes.clone()).collect()
        })
    }

    #[allow(
        clippy::exit,
        clippy::disallowed_methods,
        reason = "ending the process is this method's contract"
    )]
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

/// Splits `values` into consecutive parts of these lengths.
fn split_by_lens<'a>(values: &'a mut [f32], lens: &'a [usize]) -> impl Iterator<Item = &'a mut [f32]> {
    lens.iter().scan(values, |rest, &len| {
        let (part, tail) = std::mem::take(rest).split_at_mut(len);
        *rest = tail;
        Some(part)
    })
}

/// Splits this process into `count` ranks, one thread each: runs `first` on the first of them, in the calling
/// thread, and `others` on each of the rest. Returns the result of `first`. With a `count` of 1, the rank of
/// the process itself runs `first`.
///
/// ```
/// use fineline_ranks::{Ranks, SingleRank, run_on_threads};
///
/// let gather = |ranks: &dyn Ranks| Ok::<_, ()>(ranks.all_gather(&ranks.rank()));
/// let gathered = run_on_threads(3, &SingleRank, gather, |ranks| gather(ranks).map(drop));
/// assert_eq!(gathered, Ok(vec![0, 1, 2]));
/// ```
///
/// `processes` are the processes that train together, as ranks. When a rank fails, the other ranks of its
/// process are unwound at their next collective.
///
/// # Errors
/// The first error that a rank of this process returned.
///
/// # Panics
/// If a thread can't be started, or a rank panics.
pub fn run_on_threads<T, E: Send>(
    count: usize,
    processes: &dyn Ranks,
    first: impl FnOnce(&dyn Ranks) -> Result<T, E>,
    others: impl Fn(&dyn Ranks) -> Result<(), E> + Sync,
) -> Result<T, E> {
    if count == 1 {
        return first(processes);
    }
    let mailboxes = Arc::new(Mailboxes::new(count, processes.rank(), processes.size()));
    let failure = Mutex::new(None);
    let (failure, others) = (&failure, &others);
    let value = std::thread::scope(|scope| {
        for index in 1..count {
            let ranks = ThreadRank { threads: RankThreads::new(index, &mailboxes), link: NoLink };
            let name = format!("rank {}", ranks.rank());
            let work = move || {
                let _ = run_rank(&ranks, failure, || others(&ranks));
            };
            let started = std::thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, work);
            if let Err(error) = started {
                // The ranks that did start would wait for this one forever.
                mailboxes.mark_failed();
                panic!("cannot start the thread of a rank: {error}");
            }
        }
        let ranks = ThreadRank { threads: RankThreads::new(0, &mailboxes), link: LinkOfFirst(processes) };
        run_rank(&ranks, failure, || first(&ranks))
    });
    match (failure.lock().unwrap_or_else(PoisonError::into_inner).take(), value) {
        (None, Some(value)) => Ok(value),
        (Some(error), _) => Err(error),
        (None, None) => unreachable!("the first rank is only unwound after another's failure was stored"),
    }
}

/// Runs the work of a rank. If it fails, or is unwound because another rank failed, returns `None`; the first
/// error is stored in `failure`. Other panics are propagated.
fn run_rank<T, E, L: ProcessLink>(
    ranks: &ThreadRank<L>,
    failure: &Mutex<Option<E>>,
    work: impl FnOnce() -> Result<T, E>,
) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            ranks.threads.mailboxes().mark_failed();
        }
        Err(panic) => {
            ranks.threads.mailboxes().mark_failed();
            if !panic.is::<PeerFailed>() {
                resume_unwind(panic);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::single::SingleRank;

    /// Returns the results of `work` on each rank of `processes` processes with `count` ranks each, in the
    /// order of ranks. The processes are threads, too.
    fn run_all<T: Send>(processes: usize, count: usize, work: impl Fn(&dyn Ranks) -> T + Sync) -> Vec<T> {
        let results = Mutex::new(Vec::new());
        let run_one = |ranks: &dyn Ranks| {
            let result = work(ranks);
            results.lock().unwrap().push((ranks.rank(), result));
            Ok::<(), ()>(())
        };
        let run_process = |process: &dyn Ranks| run_on_threads(count, process, run_one, run_one);
        run_on_threads(processes, &SingleRank, run_process, run_process).unwrap();
        let mut results = results.into_inner().unwrap();
        results.sort_by_key(|(rank, _)| *rank);
        results.into_iter().map(|(_, result)| result).collect()
    }

    const SIZES: [(usize, usize); 6] = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 2)];

    /// Rank `i` sends `j + 1` values `10 i + j` to rank `j`.
    #[test]
    fn parts_of_any_length_reach_their_ranks() {
        for (processes, count) in SIZES {
            let size = processes * count;
            let results = run_all(processes, count, |ranks| {
                let own = ranks.rank();
                let sent: Vec<f32> = (0..size).flat_map(|j| vec![(10 * own + j) as f32; j + 1]).collect();
                let sent_lens: Vec<usize> = (1..=size).collect();
                let mut received = vec![0.0; size * (own + 1)];
                ranks.all_to_all_f32(&sent, &sent_lens, &mut received, &vec![own + 1; size]);
                received
            });
            assert_eq!(results.len(), size);
            for (own, received) in results.into_iter().enumerate() {
                let expected: Vec<f32> =
                    (0..size).flat_map(|i| vec![(10 * i + own) as f32; own + 1]).collect();
                assert_eq!(received, expected, "{processes} x {count}");
            }
        }
    }

    #[test]
    fn typed_values_are_broadcast_and_gathered() {
        for (processes, count) in SIZES {
            let expected: Vec<Option<String>> =
                (0..processes * count).map(|rank| (rank > 0).then(|| rank.to_string())).collect();
            for (broadcast, gathered) in run_all(processes, count, |ranks| {
                let rank = ranks.rank();
                let own = (rank > 0).then(|| rank.to_string());
                (ranks.broadcast(ranks.is_first().then_some(0.1_f64)), ranks.all_gather(&own))
            }) {
                assert_eq!(broadcast.to_bits(), 0.1_f64.to_bits());
                assert_eq!(gathered, expected);
            }
        }
    }

    #[test]
    fn vectors_are_gathered_in_order() {
        for (processes, count) in SIZES {
            let lens: Vec<usize> = (0..processes * count).collect();
            let expected: Vec<f32> = lens.iter().flat_map(|&rank| vec![rank as f32; rank]).collect();
            for gathered in run_all(processes, count, |ranks| {
                let own = vec![ranks.rank() as f32; ranks.rank()];
                let mut all = vec![9.0; expected.len()];
                ranks.all_gather_f32(&own, &mut all, &lens);
                all
            }) {
                assert_eq!(gathered, expected);
            }
        }
    }

    #[test]
    fn bytes_are_broadcast_and_gathered() {
        for (processes, count) in SIZES {
            let expected: Vec<Vec<u8>> =
                (0..processes * count).map(|rank| "rank".repeat(rank).into_bytes()).collect();
            for (broadcast, gathered, second) in run_all(processes, count, |ranks| {
                let own = "rank".repeat(ranks.rank()).into_bytes();
                let broadcast = ranks.broadcast_bytes([b"from ".to_vec(), own.clone()].concat());
                (
                    broadcast,
                    ranks.all_gather_bytes(&own),
                    ranks.all_gather_bytes(&[ranks.rank() as u8]).concat(),
                )
            }) {
                assert_eq!(broadcast, b"from ");
                assert_eq!(gathered, expected);
                assert_eq!(second, (0..(processes * count) as u8).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn threads_of_a_process_gather_values_of_any_type() {
        let gathered = run_all(2, 3, |ranks| {
            let threads = ranks.threads().unwrap();
            assert_eq!((threads.processes(), threads.count()), (2, 3));
            threads.all_gather(format!("{} at {}", ranks.rank(), threads.index()))
        });
        assert_eq!(gathered[1], ["0 at 0", "1 at 1", "2 at 2"]);
        assert_eq!(gathered[5], ["3 at 0", "4 at 1", "5 at 2"]);
    }

    #[test]
    fn the_failure_of_one_rank_unwinds_the_others_of_its_process() {
        for failing in 0..3 {
            let work = |ranks: &dyn Ranks| {
                if ranks.rank() == failing {
                    return Err(format!("rank {failing} is out of memory"));
                }
                ranks.barrier();
                Ok(())
            };
            let error = run_on_threads(3, &SingleRank, work, work).unwrap_err();
            assert_eq!(error, format!("rank {failing} is out of memory"));
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_not_waited_for() {
        let first = |ranks: &dyn Ranks| {
            ranks.barrier();
            Ok::<(), ()>(())
        };
        let others = |_: &dyn Ranks| -> Result<(), ()> { std::panic::resume_unwind(Box::new("a bug")) };
        let _ = run_on_threads(2, &SingleRank, first, others);
    }
}
