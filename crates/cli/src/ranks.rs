//! The ranks of a command that several processes run together.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use anyhow::Result;
use fineline_ranks::{Ranks, SingleRank};

use crate::failure::{UsageError, exit_code, say_failure};

/// The exit code of a program that panicked, as Rust has it.
const PANICKED: i32 = 101;

/// What the work comes to, on this process and those that `mpirun` or `srun` started with it. If it fails here, it fails for all: the
/// others would wait for this one for ever.
pub(crate) fn together<T>(work: impl FnOnce(&dyn Ranks) -> Result<T>) -> Result<T> {
    let ranks = join()?;
    // MPI's end would wait for the others, who wait for this one.
    let done = catch_unwind(AssertUnwindSafe(|| work(&*ranks))).unwrap_or_else(|panic| {
        if ranks.size() > 1 {
            ranks.abort(PANICKED);
        }
        resume_unwind(panic)
    });
    match done {
        Err(error) if ranks.size() > 1 => {
            // What is wrong with the configuration is wrong on all: rank 0 says it for them.
            if !ranks.is_first() {
                std::thread::sleep(std::time::Duration::from_secs(2));
            }
            say_failure(&error);
            ranks.abort(exit_code(&error).into())
        }
        done => done,
    }
}

/// Joins the other processes, if several were started.
fn join() -> Result<Box<dyn Ranks>> {
    match started_together() {
        0 | 1 => Ok(Box::new(SingleRank)),
        count => join_by_mpi(count),
    }
}

/// How many processes a launcher says that it started: Open MPI, MPICH and Intel MPI, Slurm. 0: there was none.
fn started_together() -> usize {
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(feature = "mpi")]
fn join_by_mpi(_: usize) -> Result<Box<dyn Ranks>> {
    Ok(Box::new(fineline_ranks::MpiRanks::start()?))
}

/// Without MPI, each process would train the whole model, all into one folder.
#[cfg(not(feature = "mpi"))]
fn join_by_mpi(count: usize) -> Result<Box<dyn Ranks>> {
    Err(UsageError(format!(
        "{count} processes were started together, but this build has no MPI to join them: build it with \
         `cargo build --release --features mpi` (scripts/setup-mpi.sh installs what that needs)"
    ))
    .into())
}

/// Ends this process at once. The launcher ends the others.
pub(crate) fn give_up(message: &str) -> ! {
    crate::messages::say_error(message);
    signal_hook::low_level::exit(1)
}
