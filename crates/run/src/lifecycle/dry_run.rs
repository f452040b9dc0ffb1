//! A dry run: everything before the first step.

use fineline_data::SourceStats;
use fineline_model::ParameterSpec;
use fineline_ranks::SingleRank;

use super::options::TrainOptions;
use super::prepared_run::{PreparedRun, refuse_shorter_run};

use crate::config::{Resolved, recipe};
use crate::device::LocalRank;
use crate::error::RunError;
use crate::progress::RunProgress;
use crate::ranks::{divide_among, use_threads};
use crate::records::events::Event;
use crate::start::ResumeRequest;
use fineline_layout::RunDirectory;

/// The state that [`train`](super::train) would start from.
#[derive(Clone, Debug)]
pub struct DryRunReport {
    /// Number of steps made so far.
    pub step: u64,
    /// Number of steps of the whole run.
    pub total_steps: u64,
    /// Events that would be logged first.
    pub events: Vec<Event>,
    /// Names and shapes of all parameters, in order.
    pub parameters: Vec<ParameterSpec>,
    /// Sources of the training rows.
    pub sources: Vec<SourceStats>,
    /// Suites, with the number of their tasks.
    pub suites: Vec<(String, usize)>,
}

/// Runs all checks that [`train`](super::train) makes before its first step, without loading a model or
/// writing into the run's directory. Prepared data are kept in `data.cache_dir` for the run.
///
/// # Errors
/// As of [`train`](super::train), before its first step.
pub fn dry_run(
    resolved: &Resolved,
    options: &TrainOptions,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<DryRunReport, RunError> {
    let config = &resolved.config;
    use_threads(config)?;
    let threads = config.distributed.ranks_per_process;
    for thread in 0..threads {
        config.open_device_at(&LocalRank { thread, threads, ..LocalRank::of(&SingleRank) })?;
    }
    divide_among(resolved, 0, threads)?;
    let directory = RunDirectory::new(&config.run.dir);
    if let ResumeRequest::FromUrl(address) = &options.resume {
        return Err(RunError::NotFetched { address: address.clone() });
    }
    let ready = PreparedRun::find(resolved, options, &directory, progress)?;
    recipe(config).validate()?;
    let start = ready.resume_context().planned_start()?;
    refuse_shorter_run(resolved, start.step)?;
    let data_changes = ready.data_changes(start.is_resumed)?;
    let PreparedRun { prepared, changes, .. } = ready;
    let tasks = prepared.suites.iter().map(|suite| suite.tasks().count());
    Ok(DryRunReport {
        step: start.step,
        total_steps: config.train.total_steps(config.data.seq_len)?,
        events: changes.into_iter().chain(data_changes).chain(start.events).collect(),
        parameters: config.model.parameters(),
        sources: prepared.dataset.sources(),
        suites: config.probes.iter().map(|probes| probes.suite.clone()).zip(tasks).collect(),
    })
}
