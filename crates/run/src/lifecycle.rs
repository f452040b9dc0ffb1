//! A run from its beginning, or from where it stopped, to its end.

use std::path::PathBuf;

use fineline_data::SourceStats;
use fineline_model::ParameterSpec;
use fineline_train::{
    Control, Observer, ObserverError, Outcome, Recipe, Session, StepReport, StopReason, StopSignal, View,
};

use crate::changes::{changes_since_start, data_changes};
use crate::checkpoint::checkpointer;
use crate::config::{Resolved, RunConfig};
use crate::digest::Digests;
use crate::directory::{Origin, RunDirectory, RunIdentity};
use crate::events::Event;
use crate::logs::Logs;
use crate::mirror::Mirroring;
use crate::observer::{Outlets, RunObserver};
use crate::prepare::{Prepared, prepare};
use crate::prometheus::MetricsServer;
use crate::released::FetchedWeights;
use crate::start::{Setting, Start};
use crate::{Progress, RunError, device, mirror};

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
    /// Stop, as if asked to, after this step.
    pub stop_after: Option<u64>,
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

/// Runs the configuration to its end, or to a request to stop.
///
/// # Errors
/// Before the first step: all that is wrong with configuration, data or folder. After it: what training can't go on with. The last
/// checkpoint stays whole in any case.
pub fn train(
    resolved: &Resolved,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, RunError> {
    let config = &resolved.config;
    use_threads(config)?;
    let device = device::open(&config.run.device.0)?.autodiff();
    let metrics_server = config.log.prometheus.map(MetricsServer::start).transpose()?;
    if let Some(server) = &metrics_server {
        progress(Progress::Serving { address: server.address() });
    }
    let directory = RunDirectory::new(&config.run.dir);
    let _lock = directory.lock()?;
    directory.refuse_foreign_files()?;
    let brought = mirror::bring(config, &directory, &options.resume, progress)?;
    let options = &TrainOptions { resume: brought.resume, ..options.clone() };
    let ready = match Ready::find(resolved, options, &directory, progress) {
        Err(RunError::Stopped { signal }) => return Ok(Ended::Stopped { step: None, signal: Some(signal) }),
        ready => ready?,
    };
    let start = Start::find(&ready.setting(), &device)?;
    refuse_shorter_run(resolved, start.step())?;
    let data_changes = ready.data_changes(start.goes_on())?;
    let Ready { prepared, stored, changes, .. } = ready;
    let identity = identify(config, &prepared, &start, stored.as_ref());
    directory.write_identity(&identity, config)?;
    let unwritten = start.unwritten_logs();
    let open_logs = if start.goes_on() { Logs::resume } else { Logs::begin };
    let goes_on = start.goes_on();
    let mut branch_point = BranchPoint(start.origin().cloned());
    let (mut trainer, events) = start.into_trainer(config, &device)?;
    let step = trainer.progress().step;

    // Later checkpoints go before the logs of their steps do: a kill in between must not leave checkpoints without logs.
    let checkpointer = checkpointer(config, &directory, &prepared, step)?;
    if goes_on {
        Logs::restore(&directory, &unwritten)?;
    }
    let mut logs = open_logs(&directory, step, &config.log)?;
    for event in brought.events.into_iter().chain(changes).chain(data_changes).chain(events) {
        progress(Progress::Event(&logs.event(step, event)?));
    }
    progress(Progress::Training {
        step,
        total_steps: trainer.total_steps(),
        parameters: identity.parameters,
        directory: directory.root(),
    });
    let outlets = Outlets {
        logs,
        digests: config.log.digest.then(|| Digests::resume(&directory)).transpose()?,
        mirror: Mirroring::start(config, &directory, &prepared, step)?,
        metrics: metrics_server,
    };
    let mut observer = RunObserver::new(config, &directory, &prepared, outlets, progress)?;
    let mut limit = StopAfter(options.stop_after);
    let session = Session {
        rows: &prepared.dataset,
        observers: vec![&mut observer, &mut limit, &mut branch_point],
        checkpointer: Some(checkpointer),
        stop: options.stop.clone(),
    };
    let outcome = session.run(&mut trainer);
    let closed = observer.close(trainer.progress().step);
    let outcome = outcome?;
    closed?;
    let step = Some(trainer.progress().step);
    Ok(match outcome {
        Outcome::Finished => Ended::Finished,
        Outcome::Stopped(StopReason::Signal(signal)) => Ended::Stopped { step, signal: Some(signal) },
        Outcome::Stopped(_) => Ended::Stopped { step, signal: None },
    })
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
    device::open(&config.run.device.0)?;
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
        Ok(Self { resolved, options, directory, stored, prepared, changes })
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            resolved: self.resolved,
            directory: self.directory,
            stored: self.stored.as_ref(),
            dataset: &self.prepared.dataset,
            resume: &self.options.resume,
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
        device: config.run.device.0.clone(),
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

/// Has a branch begin with a checkpoint of its own: the one that it comes from is another run's to remove.
struct BranchPoint(Option<Origin>);

impl Observer for BranchPoint {
    fn on_start(&mut self, _view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(if self.0.is_some() { Control::Checkpoint } else { Control::Continue })
    }
}
