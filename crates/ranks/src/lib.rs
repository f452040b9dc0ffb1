//! Ranks: the processes or threads that train one model together, and the collectives between them.
//!
//! - [`Ranks`] is the interface that training uses: collectives over `f32` vectors and over bytes, named as
//!   in MPI. On `dyn Ranks` there are also typed collectives, `all_gather` and `broadcast`, which serialize
//!   with one codec.
//! - [`SingleRank`] is a run in one process. `MpiRanks` (feature `mpi`) are processes started by `mpirun` or
//!   `srun`.
//! - [`run_on_threads`] splits each process into several ranks, one thread each. [`RankThreads`] adds
//!   collectives within a process.
//! - [`MonitoredRanks`] wraps any of them and records in a [`RankActivity`] what the rank waits for and since
//!   when, so that another thread can see it.
//!
//! Most methods are *collective*: all ranks call them, in the same order. None returns an error, because a
//! step can't be finished without every rank: a rank that can't be reached, or a message that can't be
//! decoded, ends the job.
//!
//! This crate has no notion of tensors, steps or sums. Reductions are built above it, so that the order of
//! additions can be made independent of the number of ranks.

// Ground: what the threads of one process share.
mod activity;
mod codec;
mod mailboxes;
mod rank_threads;

// The interface.
mod ranks;

// Implementations.
#[cfg(feature = "mpi")]
mod mpi;
mod process_link;
mod single;
mod thread_ranks;

// Wrappers around any implementation.
mod monitored;

pub use activity::{ActivitySnapshot, RankActivity, RankStatus};
pub use monitored::MonitoredRanks;
#[cfg(feature = "mpi")]
pub use mpi::{MpiError, MpiRanks};
pub use rank_threads::RankThreads;
pub use ranks::Ranks;
pub use single::SingleRank;
pub use thread_ranks::run_on_threads;

/// Returns the name and version that the MPI library of this build reports; `None` in a build without the
/// feature `mpi`.
#[must_use]
pub fn mpi_library() -> Option<String> {
    #[cfg(feature = "mpi")]
    let library = Some(MpiRanks::library());
    #[cfg(not(feature = "mpi"))]
    let library = None;
    library
}
