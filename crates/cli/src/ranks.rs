//! The ranks of a command that several processes run together.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use anyhow::Result;
use fineline_ranks::{Ranks, SingleRank};

use crate::failure::{exit_code, print_failure};
use crate::messages::print_error;

/// Exit code of a Rust program that panicked.
const PANIC_EXIT_CODE: i32 = 101;

/// Runs `work` with the ranks that `mpirun` or `srun` started together with this process.
///
/// If `work` fails or panics on one process, the job is aborted, because the other processes would wait for
/// this one forever.
pub(crate) fn run_on_ranks<T>(work: impl FnOnce(&dyn Ranks) -> Result<T>) -> Result<T> {
    let ranks = join()?;
    // Finalizing MPI would wait for the other processes, which wait for this one.
    let result = catch_unwind(AssertUnwindSafe(|| work(&*ranks))).unwrap_or_else(|panic| {
        if ranks.size() > 1 {
            ranks.abort(PANIC_EXIT_CODE);
        }
        resume_unwind(panic)
    });
    match result {
        Err(error) if ranks.size() > 1 => {
            // A wrong configuration is wrong on all ranks. The delay lets rank 0 report it first.
            if !ranks.is_first() {
                std::thread::sleep(std::time::Duration::from_secs(2));
            }
            print_failure(&error);
            ranks.abort(exit_code(&error).into())
        }
        result => result,
    }
}

/// Joins the other processes, if a launcher started several.
fn join() -> Result<Box<dyn Ranks>> {
    match launched_processes() {
        0 | 1 => Ok(Box::new(SingleRank)),
        count => join_by_mpi(count),
    }
}

/// Returns the number of processes that the launcher started (Open MPI, MPICH, Intel MPI or Slurm), or 0
/// without one.
fn launched_processes() -> usize {
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(feature = "mpi")]
fn join_by_mpi(_: usize) -> Result<Box<dyn Ranks>> {
    Ok(Box::new(fineline_ranks::MpiRanks::start()?))
}

/// Refuses to start: without MPI, each process would train the whole model, all into one directory.
#[cfg(not(feature = "mpi"))]
fn join_by_mpi(count: usize) -> Result<Box<dyn Ranks>> {
    Err(crate::failure::UsageError(format!(
        "{count} processes were started together, but this build has no MPI support: build it with \
         `cargo build --release --features mpi` (scripts/setup-mpi.sh installs the dependencies)"
    ))
    .into())
}

/// Ends this process immediately with an error message. The launcher ends the others.
pub(crate) fn abort(message: &str) -> ! {
    print_error(message);
    signal_hook::low_level::exit(1)
}
