//! Trains a run to its end, through rewinds.

use std::sync::Arc;

use fineline_ranks::{MonitoredRanks, Ranks};
use fineline_train::{Observer, Session, SessionOutcome, StopReason, Trainer};

use super::heartbeat::HeartbeatMonitor;
use super::observer::RunObserver;
use super::observers::{CheckpointRequest, FirstCheckpoint, StopAfter};
use super::options::TrainOptions;
use super::prepared_run::PreparedRun;
use super::rewinds::PreparedRewind;
use super::run_sinks::RunSinks;
use super::started_run::{RankContext, StartedRun};
use crate::checkpoints::writer::checkpointer;
use crate::config::Resolved;
use crate::error::RunError;
use crate::evaluation::shared_evaluation::{EvaluationWorker, SharedEvaluation};
use crate::evaluation::validation::Validation;
use crate::progress::RunProgress;
use crate::ranks::{divide, first_in_turn, on_ranks};
use crate::records::lock::{RunLock, refuse_foreign_files};
use crate::sinks::prometheus::PrometheusServer;
use crate::sinks::upload::RunUploader;
use crate::start::download::{DownloadedRun, download_run};
use crate::triggers::Notifier;
use fineline_layout::RunDirectory;

/// How [`train`] ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// All steps are complete.
    Finished,
    /// A stop was requested.
    Stopped {
        /// Step of the checkpoint to resume from. `None` if training hadn't started.
        step: Option<u64>,
        /// The signal that requested it, if one did.
        signal: Option<usize>,
    },
}

/// Trains the configured run to its end, or until a stop is requested. `processes` train together, and each
/// has `distributed.ranks_per_process` ranks.
///
/// # Errors
/// Before the first step: an invalid configuration, data or directory. After it: whatever prevents training
/// from continuing. The last checkpoint stays complete in any case.
pub fn train(
    resolved: &Resolved,
    options: &TrainOptions,
    processes: &dyn Ranks,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<RunOutcome, RunError> {
    on_ranks(
        &resolved.config,
        processes,
        |ranks| train_as(&MonitoredRanks::new(ranks), resolved, options, progress),
        |ranks| train_as(&MonitoredRanks::new(ranks), resolved, options, &mut |_| ()).map(drop),
    )
}

/// Trains as one rank.
fn train_as(
    ranks: &MonitoredRanks<'_>,
    resolved: &Resolved,
    options: &TrainOptions,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<RunOutcome, RunError> {
    let config = &resolved.config;
    let division = divide(resolved, ranks)?;
    let directory = RunDirectory::new(&config.run.dir);
    let _lock = if ranks.is_first() { Some(RunLock::acquire(&directory)?) } else { None };
    let clock = Arc::default();
    let _monitor =
        HeartbeatMonitor::start(options.give_up, directory.heartbeats(), config, ranks, Arc::clone(&clock))?;
    let device = config.open_device(ranks)?.autodiff();
    let metrics_server =
        if ranks.is_first() { config.log.prometheus.map(PrometheusServer::start).transpose()? } else { None };
    if let Some(server) = &metrics_server {
        progress(RunProgress::Serving { address: server.address() });
    }
    ranks.set_status("looking at the remote storage of the run");
    let mut downloaded = DownloadedRun { resume: options.resume.clone(), events: Vec::new() };
    if ranks.is_first() {
        refuse_foreign_files(&directory)?;
        downloaded = download_run(config, &directory, &options.resume, progress)?;
    }
    let options = &TrainOptions { resume: downloaded.resume, ..options.clone() };
    let mut ready = match first_in_turn(ranks, || PreparedRun::find(resolved, options, &directory, progress))
    {
        Err(RunError::Stopped { signal }) => return Ok(stopped_before(signal, ranks)),
        ready => ready?,
    };
    if let Some(signal) = signal_of_others(ranks) {
        return Ok(RunOutcome::Stopped { step: None, signal: Some(signal) });
    }
    let mut earlier_events = downloaded.events;
    loop {
        let context = RankContext {
            device: &device,
            division: &division,
            ranks,
            clock: Arc::clone(&clock),
            metrics: metrics_server.as_ref(),
            earlier_events: std::mem::take(&mut earlier_events),
        };
        if let Some(outcome) = train_on(&ready, &context, progress)? {
            return Ok(outcome);
        }
        ready.rewind()?;
    }
}

/// Trains from the starting state to the end of the run, or until a rewind. Returns `None` after a rewind,
/// which the logs describe.
fn train_on(
    ready: &PreparedRun<'_>,
    context: &RankContext<'_>,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<Option<RunOutcome>, RunError> {
    let ranks = context.ranks;
    let &PreparedRun { resolved, options, directory, ref prepared, .. } = ready;
    let config = &resolved.config;
    let mut started = StartedRun::find(ready, context)?;

    // The checkpointer renames later checkpoints to `abandoned-...` before the logs drop their steps, so that
    // a kill in between can't leave checkpoints without logs.
    let checkpointer = checkpointer(config, directory, prepared, &started.trainer, ranks)?;
    let mut limit = StopAfter(options.stop_after);
    let mut request = CheckpointRequest(&options.checkpoint);
    let mut first_checkpoint = FirstCheckpoint(started.needs_checkpoint);
    let mut faults = options.faults.observer(ranks);
    let rows = options.faults.rows(&prepared.dataset, config.train.global_batch_size);
    let mut observers: Vec<&mut dyn Observer> =
        vec![&mut limit, &mut request, &mut first_checkpoint, &mut faults];
    let session = |observers| Session {
        rows: &rows,
        observers,
        checkpointer: Some(checkpointer),
        stop: options.stop.clone(),
        clock: Arc::clone(&context.clock),
        ranks,
    };
    if !ranks.is_first() {
        let validation = Validation::new(config, prepared);
        let mut worker = EvaluationWorker(SharedEvaluation { validation, suites: &prepared.suites, ranks });
        observers.insert(0, &mut worker);
        return Ok(run_outcome(&session(observers).run(&mut started.trainer)?, &started.trainer));
    }
    let logs = started.open_logs(ready, progress)?;
    let uploader = RunUploader::start(config, directory, prepared, &started.trainer)?;
    let sinks = RunSinks::new(directory, &config.log, logs, uploader, context.metrics, progress)?;
    let notifier = Notifier(options.notify.as_ref());
    let mut observer = RunObserver::new(config, directory, prepared, notifier, sinks, ranks)?;
    observers.insert(0, &mut observer);
    let outcome = session(observers).run(&mut started.trainer);
    if let Ok(SessionOutcome::Rewind(rewind)) = &outcome {
        let trigger = observer.rewinding();
        let prepared_rewind = PreparedRewind::prepare(directory, rewind, trigger, config.guard.max_rewinds)?;
        observer.log_rewind(prepared_rewind.step, prepared_rewind.event)?;
    }
    ranks.set_status("closing the logs and finishing uploads");
    let closed = observer.close(started.trainer.progress().step);
    let outcome = outcome?;
    closed?;
    Ok(run_outcome(&outcome, &started.trainer))
}

/// Returns how training ended. `None` for a rewind.
fn run_outcome(outcome: &SessionOutcome, trainer: &Trainer) -> Option<RunOutcome> {
    let step = Some(trainer.progress().step);
    match outcome {
        SessionOutcome::Finished => Some(RunOutcome::Finished),
        SessionOutcome::Stopped(StopReason::Signal(signal)) => {
            Some(RunOutcome::Stopped { step, signal: Some(*signal) })
        }
        SessionOutcome::Stopped(_) => Some(RunOutcome::Stopped { step, signal: None }),
        SessionOutcome::Rewind(_) => None,
    }
}

/// Sends the signal that stopped this rank before training to the other ranks.
fn stopped_before(signal: usize, ranks: &dyn Ranks) -> RunOutcome {
    let _ = ranks.all_gather(&Some(signal));
    RunOutcome::Stopped { step: None, signal: Some(signal) }
}

/// Returns the signal that stopped another rank before training.
fn signal_of_others(ranks: &dyn Ranks) -> Option<usize> {
    ranks.all_gather(&None).into_iter().flatten().next()
}
