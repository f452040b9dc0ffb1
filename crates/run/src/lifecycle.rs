//! A run from its beginning, or from where it stopped, to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use fineline_data::SourceStats;
use fineline_model::ParameterSpec;
use fineline_ranks::{MonitoredRanks, Ranks, SingleRank, run_on_threads};
use fineline_train::{
    Control, Division, Observer, ObserverError, Outcome, Recipe, Session, StepClock, StepReport, StopReason,
    StopSignal, TrainError, Trainer, View,
};

use crate::changes::{changes_since_start, data_changes};
use crate::checkpoint::checkpointer;
use crate::config::{Resolved, RunConfig};
use crate::device::LocalPlace;
use crate::digest::Digests;
use crate::directory::{RunDirectory, RunIdentity};
use crate::events::Event;
use crate::faults::Faults;
use crate::heartbeat::Watcher;
use crate::logs::{Logs, UnwrittenLogs};
use crate::mirror::Mirroring;
use crate::observer::{Outlets, RunObserver};
use crate::prepare::{Prepared, prepare};
use crate::prometheus::MetricsServer;
use crate::released::FetchedWeights;
use crate::rewinds::{Return, left_out_since};
use crate::sharing::Helper;
use crate::start::{Setting, Start};
use crate::triggers::{Notifier, Notify, TriggerConfig};
use crate::validation::Validation;
use crate::{Progress, RunError, mirror};

/// What the caller of [`train`] decides.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Where to begin.
    pub resume: Resume,
    /// Keys that may differ from what the run was started with.
    pub allow_changes: Vec<String>,
    /// What `init.from` stands for, if that is a model of the hub: the caller, who knows of the hub, has found it.
    pub fetched: Option<FetchedWeights>,
    /// How the caller asks for the end.
    pub stop: StopSignal,
    /// Ends the process at once, with a message, where other ranks are waited for in vain. Nothing else can: the thread of this one waits.
    /// Without it, ranks wait for ever.
    pub give_up: Option<fn(&str) -> !>,
    /// Stop, as if asked to, after this step.
    pub stop_after: Option<u64>,
    /// How the caller asks for a checkpoint, after which training goes on. Taken back once it is seen.
    pub checkpoint: Arc<AtomicBool>,
    /// Who tells others of triggers; without one, webhooks are not called.
    pub notify: Option<Arc<dyn Notify>>,
    /// What is to go wrong on purpose.
    pub faults: Faults,
}

/// Where a run begins.
#[derive(Clone, Debug, Default)]
pub enum Resume {
    /// From the newest whole checkpoint; from the start if there is none.
    #[default]
    Auto,
    /// From the start, in a folder that has no run.
    Never,
    /// From this checkpoint.
    From(PathBuf),
    /// From the run in a store, or one of its checkpoints, by its address: it is fetched into the run's folder.
    FromUrl(String),
}

/// How [`train`] ended, where it didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// It was asked to stop.
    Stopped {
        /// The step whose checkpoint it can go on from; none if training hadn't begun or gone on yet.
        step: Option<u64>,
        /// The signal that asked, if one did.
        signal: Option<usize>,
    },
}

/// Runs the configuration to its end, or to a request to stop, on `processes` that train together, each of which has
/// `distributed.ranks_per_process` ranks.
///
/// # Errors
/// Before the first step: all that is wrong with configuration, data or folder. After it: what training can't go on with. The last
/// checkpoint stays whole in any case.
pub fn train(
    resolved: &Resolved,
    options: &TrainOptions,
    processes: &dyn Ranks,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, RunError> {
    on_ranks(
        &resolved.config,
        processes,
        |ranks| train_as(&MonitoredRanks::new(ranks), resolved, options, progress),
        |ranks| train_as(&MonitoredRanks::new(ranks), resolved, options, &mut |_| ()).map(drop),
    )
}

/// What the first rank of this process comes to, on so many ranks and threads as the configuration gives it.
pub(crate) fn on_ranks<T>(
    config: &RunConfig,
    processes: &dyn Ranks,
    first: impl FnOnce(&dyn Ranks) -> Result<T, RunError>,
    others: impl Fn(&dyn Ranks) -> Result<(), RunError> + Sync,
) -> Result<T, RunError> {
    use_threads(config)?;
    run_on_threads(config.distributed.ranks_per_process, processes, first, others)
}

/// What one rank does.
fn train_as(
    ranks: &MonitoredRanks<'_>,
    resolved: &Resolved,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, RunError> {
    let config = &resolved.config;
    let division = divide(resolved, ranks)?;
    let directory = RunDirectory::new(&config.run.dir);
    let _lock = if ranks.is_first() { Some(directory.lock()?) } else { None };
    let clock = Arc::default();
    let _watcher = Watcher::start(options.give_up, directory.ranks(), config, ranks, Arc::clone(&clock))?;
    let device = config.open_device(ranks)?.autodiff();
    let metrics_server =
        if ranks.is_first() { config.log.prometheus.map(MetricsServer::start).transpose()? } else { None };
    if let Some(server) = &metrics_server {
        progress(Progress::Serving { address: server.address() });
    }
    ranks.set_status("looking at the copy of the run");
    let mut brought = mirror::Brought { resume: options.resume.clone(), events: Vec::new() };
    if ranks.is_first() {
        directory.refuse_foreign_files()?;
        brought = mirror::bring(config, &directory, &options.resume, progress)?;
    }
    let options = &TrainOptions { resume: brought.resume, ..options.clone() };
    let mut ready = match first_in_turn(ranks, || Ready::find(resolved, options, &directory, progress)) {
        Err(RunError::Stopped { signal }) => return Ok(stopped_before(signal, ranks)),
        ready => ready?,
    };
    if let Some(signal) = stop_of_others(ranks) {
        return Ok(Ended::Stopped { step: None, signal: Some(signal) });
    }
    let mut news = brought.events;
    loop {
        let (metrics, brought) = (metrics_server.as_ref(), std::mem::take(&mut news));
        let clock = Arc::clone(&clock);
        let place = Place { device: &device, division: &division, ranks, clock, metrics, brought };
        if let Some(ended) = train_on(&ready, &place, progress)? {
            return Ok(ended);
        }
        ready.go_back()?;
    }
}

/// What computes, and with whom.
struct Place<'a> {
    device: &'a Device,
    division: &'a Division,
    ranks: &'a dyn Ranks,
    /// Who sees which step is being made.
    clock: Arc<StepClock>,
    /// Who is told of the metrics.
    metrics: Option<&'a MetricsServer>,
    /// What was done before there were logs.
    brought: Vec<Event>,
}

/// A run that is about to take its next step.
struct Begun {
    trainer: Trainer,
    /// Whether it is the run itself that goes on, and not a new one.
    goes_on: bool,
    /// Lines that a checkpoint has kept for the logs.
    unwritten: UnwrittenLogs,
    /// What is to be logged first.
    events: Vec<Event>,
    /// Whether there must be a checkpoint before the first step.
    needs_checkpoint: bool,
    parameters: u64,
}

impl Begun {
    /// Finds where the run stands, on all ranks, and says what it is in its folder.
    fn find(ready: &Ready<'_>, place: &Place<'_>) -> Result<Self, RunError> {
        let &Place { device, division, ranks, .. } = place;
        let &Ready { resolved, options, directory, ref prepared, .. } = ready;
        let config = &resolved.config;
        ranks.set_status("looking for the newest whole checkpoint");
        let start = Start::find(&ready.setting(), division, device, ranks)?;
        refuse_shorter_run(resolved, start.step())?;
        let goes_on = start.goes_on();
        let data_changes = ready.data_changes(goes_on)?;
        let identity = identify(config, prepared, &start, ready.stored.as_ref(), ranks);
        ranks.barrier();
        if ranks.is_first() {
            directory.write_identity(&identity, config)?;
        }
        let unwritten = start.unwritten_logs();
        let needs_checkpoint = start.origin().is_some() || may_rewind(config);
        let (trainer, of_start) = start.into_trainer(config, device)?;
        let mut trainer = trainer.divided(division.clone());
        if goes_on {
            for rows in left_out_since(directory, trainer.progress().step)? {
                trainer.leave_out(rows);
            }
        }
        trainer.inject(options.faults.numbers());
        let events = [&place.brought, &ready.changes, &data_changes, &of_start];
        let events = events.into_iter().flatten().cloned().collect();
        Ok(Self { trainer, goes_on, unwritten, events, needs_checkpoint, parameters: identity.parameters })
    }

    /// Opens the logs at the step where the run stands, and says in them how it began.
    fn open_logs(&self, ready: &Ready<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Logs, RunError> {
        let (step, directory) = (self.trainer.progress().step, ready.directory);
        if self.goes_on {
            Logs::restore(directory, &self.unwritten)?;
        }
        let open = if self.goes_on { Logs::resume } else { Logs::begin };
        let mut logs = open(directory, step, &ready.resolved.config.log)?;
        for event in &self.events {
            progress(Progress::Event(&logs.event(step, event.clone())?));
        }
        progress(Progress::Training {
            step,
            total_steps: self.trainer.total_steps(),
            parameters: self.parameters,
            directory: directory.root(),
        });
        Ok(logs)
    }
}

/// Trains from where the run stands to its end, or until it is to go back: then nothing is returned, and the logs say where to.
fn train_on(
    ready: &Ready<'_>,
    place: &Place<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Ended>, RunError> {
    let ranks = place.ranks;
    let &Ready { resolved, options, directory, ref prepared, .. } = ready;
    let config = &resolved.config;
    let mut begun = Begun::find(ready, place)?;

    // Later checkpoints go before the logs of their steps do: a kill in between must not leave checkpoints without logs.
    let checkpointer = checkpointer(config, directory, prepared, &begun.trainer, ranks)?;
    let mut limit = StopAfter(options.stop_after);
    let mut request = CheckpointRequest(&options.checkpoint);
    let mut first_checkpoint = FirstCheckpoint(begun.needs_checkpoint);
    let mut faults = options.faults.observer(ranks);
    let rows = options.faults.rows(&prepared.dataset, config.train.global_batch);
    let mut observers: Vec<&mut dyn Observer> =
        vec![&mut limit, &mut request, &mut first_checkpoint, &mut faults];
    let session = |observers| Session {
        rows: &rows,
        observers,
        checkpointer: Some(checkpointer),
        stop: options.stop.clone(),
        clock: Arc::clone(&place.clock),
        ranks,
    };
    if !ranks.is_first() {
        let validation = Validation::new(config, prepared);
        let mut helper = Helper { validation, suites: &prepared.suites, ranks };
        observers.insert(0, &mut helper);
        return Ok(ended(&session(observers).run(&mut begun.trainer)?, &begun.trainer));
    }
    let outlets = Outlets {
        logs: begun.open_logs(ready, progress)?,
        digests: config.log.digest.then(|| Digests::resume(directory)).transpose()?,
        mirror: Mirroring::start(config, directory, prepared, &begun.trainer)?,
        metrics: place.metrics,
        notifier: Notifier(options.notify.as_ref()),
        ranks,
    };
    let mut observer = RunObserver::new(config, directory, prepared, outlets, progress)?;
    observers.insert(0, &mut observer);
    let outcome = session(observers).run(&mut begun.trainer);
    if let Ok(Outcome::Rewind(rewind)) = &outcome {
        let trigger = observer.rewinding();
        let back = Return::prepare(directory, rewind, trigger, config.guard.max_rewinds)?;
        observer.go_back(back.step, back.event)?;
    }
    ranks.set_status("closing the logs and the copy of the run");
    let closed = observer.close(begun.trainer.progress().step);
    let outcome = outcome?;
    closed?;
    Ok(ended(&outcome, &begun.trainer))
}

/// How it ended; not at all if the run is to go back.
fn ended(outcome: &Outcome, trainer: &Trainer) -> Option<Ended> {
    let step = Some(trainer.progress().step);
    match outcome {
        Outcome::Finished => Some(Ended::Finished),
        Outcome::Stopped(StopReason::Signal(signal)) => Some(Ended::Stopped { step, signal: Some(*signal) }),
        Outcome::Stopped(_) => Some(Ended::Stopped { step, signal: None }),
        Outcome::Rewind(_) => None,
    }
}

/// Who does what of a step.
pub(crate) fn divide(resolved: &Resolved, ranks: &dyn Ranks) -> Result<Division, RunError> {
    divide_among(resolved, ranks.rank(), ranks.size())
}

fn divide_among(resolved: &Resolved, rank: usize, size: usize) -> Result<Division, RunError> {
    let config = &resolved.config;
    match Division::of(&config.distributed, &config.train, &config.model, rank, size) {
        Err(TrainError::Config { key, reason }) => Err(resolved.invalid(key, reason).into()),
        division => Ok(division?),
    }
}

/// Does something on rank 0, then on the others, which find what it has left: the data in the cache.
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

/// This rank was asked to stop before training: the others hear of it.
fn stopped_before(signal: usize, ranks: &dyn Ranks) -> Ended {
    let _ = ranks.all_gather(&Some(signal));
    Ended::Stopped { step: None, signal: Some(signal) }
}

/// The signal that another rank was stopped by before training.
fn stop_of_others(ranks: &dyn Ranks) -> Option<usize> {
    ranks.all_gather(&None).into_iter().flatten().next()
}

/// Whether something may take the run back. Then it begins with a checkpoint.
fn may_rewind(config: &RunConfig) -> bool {
    config.guard.may_rewind() || config.triggers.iter().any(TriggerConfig::may_rewind)
}

/// What [`train`] would begin with.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Steps done by then.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// What would be logged first.
    pub events: Vec<Event>,
    /// The names and shapes of all parameters, in their order.
    pub parameters: Vec<ParameterSpec>,
    /// The sources of the training rows.
    pub sources: Vec<SourceStats>,
    /// Suites, and how many tasks each has.
    pub suites: Vec<(String, usize)>,
}

/// Does all that [`train`] does before its first step, but puts no model into memory and writes nothing into the run's folder. What is made of the data is kept in
/// `data.cache`, where the run will find it.
///
/// # Errors
/// What [`train`] would find wrong before its first step.
pub fn dry_run(
    resolved: &Resolved,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outlook, RunError> {
    let config = &resolved.config;
    use_threads(config)?;
    let threads = config.distributed.ranks_per_process;
    for thread in 0..threads {
        config.open_device_at(&LocalPlace { thread, threads, ..LocalPlace::of(&SingleRank) })?;
    }
    divide_among(resolved, 0, threads)?;
    let directory = RunDirectory::new(&config.run.dir);
    if let Resume::FromUrl(address) = &options.resume {
        return Err(RunError::NotFetched { address: address.clone() });
    }
    let ready = Ready::find(resolved, options, &directory, progress)?;
    recipe(config).validate()?;
    let begin = ready.setting().outlook()?;
    refuse_shorter_run(resolved, begin.step)?;
    let data_changes = ready.data_changes(begin.goes_on)?;
    let Ready { prepared, changes, .. } = ready;
    let tasks = prepared.suites.iter().map(|suite| suite.tasks().count());
    Ok(Outlook {
        step: begin.step,
        total_steps: config.train.total_steps(config.data.seq_len)?,
        events: changes.into_iter().chain(data_changes).chain(begin.events).collect(),
        parameters: config.model.parameters(),
        sources: prepared.dataset.sources(),
        suites: config.probes.iter().map(|probes| probes.suite.clone()).zip(tasks).collect(),
    })
}

/// What there is before it is decided where training begins.
struct Ready<'a> {
    resolved: &'a Resolved,
    options: &'a TrainOptions,
    directory: &'a RunDirectory,
    /// Where to begin.
    resume: Resume,
    /// What the folder tells of the run that is in it.
    stored: Option<RunIdentity>,
    /// What the run reads.
    prepared: Prepared,
    /// What differs in the configuration from the run's last start.
    changes: Vec<Event>,
}

impl<'a> Ready<'a> {
    fn find(
        resolved: &'a Resolved,
        options: &'a TrainOptions,
        directory: &'a RunDirectory,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, RunError> {
        directory.refuse_foreign_files()?;
        let changes = changes_since_start(&resolved.config, directory, &options.allow_changes)?;
        let prepared = prepare(resolved, &options.stop, progress)?;
        let stored = directory.stored_identity()?;
        let resume = options.resume.clone();
        Ok(Self { resolved, options, directory, resume, stored, prepared, changes })
    }

    /// Makes ready for another start, from the run's own newest checkpoint.
    fn go_back(&mut self) -> Result<(), RunError> {
        self.resume = Resume::Auto;
        self.changes.clear();
        self.stored = self.directory.stored_identity()?;
        Ok(())
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            resolved: self.resolved,
            directory: self.directory,
            stored: self.stored.as_ref(),
            dataset: &self.prepared.dataset,
            resume: &self.resume,
            fetched: self.options.fetched.as_ref(),
        }
    }

    /// What differs in tokenizer and data, where it is the run itself that goes on.
    fn data_changes(&self, goes_on: bool) -> Result<Vec<Event>, RunError> {
        match self.stored.as_ref().filter(|_| goes_on) {
            Some(stored) => data_changes(stored, &self.prepared, self.directory, &self.options.allow_changes),
            None => Ok(Vec::new()),
        }
    }
}

/// Everything in the configuration that decides what a step does.
pub(crate) fn recipe(config: &RunConfig) -> Recipe {
    Recipe {
        optim: config.optim.clone(),
        schedule: config.schedule.clone(),
        train: config.train.clone(),
        guard: config.guard.clone(),
        seq_len: config.data.seq_len,
        document_mask: config.data.document_mask,
        frozen_row: config.model.pad_token_id,
        rewarm: None,
        precision: config.run.precision.into(),
    }
}

/// Sets the number of threads that compute. The first caller in a process decides.
pub(crate) fn use_threads(config: &RunConfig) -> Result<(), RunError> {
    let Some(threads) = config.run.threads else { return Ok(()) };
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        Ok(()) => Ok(()),
        Err(_) if rayon::current_num_threads() == threads => Ok(()),
        Err(error) => Err(RunError::Threads { threads, message: error.to_string() }),
    }
}

/// Refuses a run that would end before the step at which it stands: what it has made since then belongs to a longer one.
fn refuse_shorter_run(resolved: &Resolved, step: u64) -> Result<(), RunError> {
    let config = &resolved.config;
    let total = config.train.total_steps(config.data.seq_len)?;
    if step <= total {
        return Ok(());
    }
    let key = if config.train.tokens.is_some() { "train.tokens" } else { "train.steps" };
    let message = format!(
        "makes a run of {total} steps, but this one has done {step} already: make it longer, or go back with `--resume CHECKPOINT`"
    );
    Err(resolved.invalid(key, message).into())
}

/// What the run is, as of now.
fn identify(
    config: &RunConfig,
    prepared: &Prepared,
    start: &Start,
    stored: Option<&RunIdentity>,
    ranks: &dyn Ranks,
) -> RunIdentity {
    let now = jiff::Timestamp::now();
    let own = stored.filter(|_| start.goes_on());
    RunIdentity {
        name: config.run.name.clone(),
        config_hash: config.hash(),
        data_fingerprint: prepared.dataset.fingerprint().to_owned(),
        tokenizer_fingerprint: prepared.tokenizer.fingerprint().to_owned(),
        parameters: config.model.parameter_count(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sysinfo::System::host_name(),
        device: config.run.device.to_string(),
        ranks: ranks.size(),
        threads: rayon::current_num_threads(),
        created: stored.map_or(now, |stored| stored.created),
        started: now,
        origin: start.origin().or(own.and_then(|own| own.origin.as_ref())).cloned(),
        init: start.init().or(own.and_then(|own| own.init.as_ref())).cloned(),
    }
}

/// Ends training after a step before the last.
struct StopAfter(Option<u64>);

impl Observer for StopAfter {
    fn on_step(&mut self, report: &StepReport, _view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(if self.0 == Some(report.step) { Control::Stop } else { Control::Continue })
    }
}

/// Has a checkpoint written when the caller asks for one.
struct CheckpointRequest<'a>(&'a AtomicBool);

impl Observer for CheckpointRequest<'_> {
    fn on_step(&mut self, _report: &StepReport, _view: &View<'_>) -> Result<Control, ObserverError> {
        let is_asked_for = self.0.swap(false, Ordering::SeqCst);
        Ok(if is_asked_for { Control::Checkpoint } else { Control::Continue })
    }
}

/// Has a run begin with a checkpoint of its own: a branch, since the one that it comes from is another run's to remove, and a run that may
/// have to go back before its first regular one.
struct FirstCheckpoint(bool);

impl Observer for FirstCheckpoint {
    fn on_start(&mut self, _view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(if self.0 { Control::Checkpoint } else { Control::Continue })
    }
}
