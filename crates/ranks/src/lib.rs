//! Ranks: the processes that train one model together, and what they tell each other.
//!
//! - [`Ranks`] is all that training asks of them: vectors exchanged and gathered, words broadcast and collected.
//! - [`Alone`] is one process; `MpiRanks` (feature `mpi`) are processes that `mpirun` or `srun` started.
//! - [`on_threads`] makes of each process several ranks, its threads; what they can do besides is [`Threads`].
//! - [`Watched`] is any of them with an [`Activity`], from which another thread sees what a rank is waiting for, and since when.
//!
//! Most methods are *collective*: all ranks call them, in the same order. None returns an error: a rank that can't be reached ends
//! the job, since no step can be finished without it.
//!
//! This crate knows nothing of tensors, steps, or what is summed up. It does no sums itself: whoever must have the same bits on
//! any number of ranks decides the order of additions.

mod alone;
mod board;
#[cfg(feature = "mpi")]
mod mpi;
mod processes;
mod threads;
mod watched;

pub use alone::Alone;
#[cfg(feature = "mpi")]
pub use mpi::{MpiError, MpiRanks};
pub use threads::{Threads, on_threads};
pub use watched::{Activity, Doing, Watched};

/// The MPI library of this build, as it calls itself; none in a build without the feature `mpi`.
#[must_use]
pub fn mpi_library() -> Option<String> {
    #[cfg(feature = "mpi")]
    let library = Some(MpiRanks::library());
    #[cfg(not(feature = "mpi"))]
    let library = None;
    library
}

/// The ranks of a run, as one of them sees them.
pub trait Ranks {
    /// Which of them this one is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Sends each rank its part of `sent`, and returns what they sent to this one, in the order of ranks.
    ///
    /// `sent` is cut into parts of `sent_lens` values, `received` into parts of `received_lens`; one of each per rank.
    fn exchange(&self, sent: &[f32], sent_lens: &[usize], received: &mut [f32], received_lens: &[usize]);

    /// Puts together what all ranks hold a part of: `own` of this one, all in the order of ranks in `all`, cut into parts of `lens`.
    fn gather(&self, own: &[f32], all: &mut [f32], lens: &[usize]);

    /// What rank 0 says, to all. What the others give is not looked at.
    fn broadcast(&self, words: Vec<u8>) -> Vec<u8>;

    /// What every rank says, to all, in the order of ranks.
    fn collect(&self, words: &[u8]) -> Vec<Vec<u8>>;

    /// The ranks that are threads of this process, if it has several. Not collective.
    fn threads(&self) -> Option<&Threads> {
        None
    }

    /// Says that this rank begins with something that may take long, and for which the others have to wait. Not collective.
    fn begins(&self, what: &'static str) {
        let _ = what;
    }

    /// Ends the whole job at once, with this exit code.
    fn abort(&self, code: i32) -> !;

    /// Whether this is the one that writes and decides.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns when all have come here.
    fn wait_for_all(&self) {
        self.collect(&[]);
    }
}
