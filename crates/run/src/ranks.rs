//! Ranks and threads of a process.

use fineline_ranks::{Ranks, run_on_threads};
use fineline_train::{Division, TrainError};

use crate::config::{Resolved, RunConfig};
use crate::error::RunError;

/// Runs `first` on rank 0 of this process and `others` on its remaining ranks, and returns the result of
/// `first`.
pub(crate) fn on_ranks<T>(
    config: &RunConfig,
    processes: &dyn Ranks,
    first: impl FnOnce(&dyn Ranks) -> Result<T, RunError>,
    others: impl Fn(&dyn Ranks) -> Result<(), RunError> + Sync,
) -> Result<T, RunError> {
    use_threads(config)?;
    run_on_threads(config.distributed.ranks_per_process, processes, first, others)
}

/// Sets the number of compute threads. The first call in a process decides.
pub(crate) fn use_threads(config: &RunConfig) -> Result<(), RunError> {
    let Some(threads) = config.run.threads else { return Ok(()) };
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        Ok(()) => Ok(()),
        Err(_) if rayon::current_num_threads() == threads => Ok(()),
        Err(error) => Err(RunError::Threads { threads, message: error.to_string() }),
    }
}

/// Returns the division of a step among ranks.
pub(crate) fn divide(resolved: &Resolved, ranks: &dyn Ranks) -> Result<Division, RunError> {
    divide_among(resolved, ranks.rank(), ranks.size())
}

pub(crate) fn divide_among(resolved: &Resolved, rank: usize, size: usize) -> Result<Division, RunError> {
    let config = &resolved.config;
    match Division::for_rank(&config.distributed, &config.train, &config.model, rank, size) {
        Err(TrainError::Config(problems)) => Err(resolved.located(problems).into()),
        division => Ok(division?),
    }
}

/// Runs `work` on rank 0, then on the other ranks, which find its results in the data cache.
pub(crate) fn first_in_turn<T>(ranks: &dyn Ranks, work: impl FnOnce() -> T) -> T {
    if !ranks.is_first() {
        ranks.barrier();
    }
    ranks.set_status("getting the data ready");
    let done = work();
    if ranks.is_first() {
        ranks.barrier();
    }
    done
}
