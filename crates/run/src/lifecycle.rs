//! A run from its beginning, or from where it stopped, to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fineline_model::SpecialTokens;
use fineline_train::{
    Checkpoint, CheckpointFolder, Checkpointer, Control, Observer, ObserverError, Outcome, Recipe, Session, StepReport,
    StopReason, StopSignal, TrainError, Trainer, View,
};
use fs_err as fs;
use serde_json::json;

use crate::config::{Difference, Resolved, RunConfig};
use crate::directory::{RunDirectory, RunIdentity, write_atomically};
use crate::events::Event;
use crate::logs::Logs;
use crate::observer::RunObserver;
use crate::prepare::{Prepared, prepare};
use crate::{Progress, RunError, device};

/// What the caller of [`train`] decides.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Where to begin.
    pub resume: Resume,
    /// Keys that may differ from what the run was started with.
    pub allow_changes: Vec<String>,
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
}

/// How [`train`] ended, where it didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// It was asked to stop, and can go on from a checkpoint.
    Stopped {
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
    let directory = RunDirectory::new(&config.run.dir);
    let _lock = directory.lock()?;
    let changes = changes_since_start(config, &directory, options)?;
    let prepared = prepare(resolved, progress)?;
    let start = Start::find(config, &directory, &options.resume, &device)?;
    let identity = write_identity(config, &directory, &prepared, &start, options)?;
    let mut trainer = start.trainer(config, &device)?;
    let step = trainer.progress().step;

    let mut logs = Logs::resume(&directory, step, &config.log)?;
    for event in changes.into_iter().chain(start.events) {
        progress(Progress::Event(&logs.event(step, event)?));
    }
    progress(Progress::Training {
        step,
        total_steps: trainer.total_steps(),
        parameters: identity.parameters,
        directory: directory.root(),
    });
    let mut observer = RunObserver::new(config, &directory, &prepared, logs, progress)?;
    let mut limit = StopAfter(options.stop_after);
    let session = Session {
        rows: &prepared.dataset,
        observers: vec![&mut observer, &mut limit],
        checkpointer: Some(checkpointer(config, &directory, &prepared, step)?),
        stop: options.stop.clone(),
    };
    Ok(match session.run(&mut trainer)? {
        Outcome::Finished => Ended::Finished,
        Outcome::Stopped(StopReason::Signal(signal)) => Ended::Stopped { signal: Some(signal) },
        Outcome::Stopped(_) => Ended::Stopped { signal: None },
    })
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

/// Ends training after a step before the last.
struct StopAfter(Option<u64>);

impl Observer for StopAfter {
    fn on_step(&mut self, report: &StepReport, _view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(if self.0 == Some(report.step) { Control::Stop } else { Control::Continue })
    }
}

/// Where training begins, and what is to be said of it.
struct Start {
    checkpoint: Option<Checkpoint>,
    events: Vec<Event>,
}

impl Start {
    fn find(config: &RunConfig, directory: &RunDirectory, resume: &Resume, device: &Device) -> Result<Self, RunError> {
        let folder = CheckpointFolder::new(directory.checkpoints());
        let (path, mut events) = match resume {
            Resume::From(path) => (Some(path.clone()), Vec::new()),
            Resume::Never if directory.config().exists() => {
                return Err(RunError::Exists { dir: directory.root().to_owned() });
            }
            Resume::Never => (None, Vec::new()),
            Resume::Auto => {
                let mut found = folder.newest_whole()?;
                if found.newest_whole.is_none() && !found.damaged.is_empty() {
                    let newest = Box::new(found.damaged.swap_remove(0));
                    return Err(RunError::NothingWhole { dir: folder.path().to_owned(), source: newest });
                }
                (found.newest_whole, found.damaged.iter().map(damage_event).collect())
            }
        };
        let checkpoint = path.as_deref().map(|path| Checkpoint::load(path, &config.model, device)).transpose()?;
        events.push(match path {
            Some(checkpoint) => Event::Resumed { checkpoint },
            None => Event::Started,
        });
        Ok(Self { checkpoint, events })
    }

    fn trainer(&self, config: &RunConfig, device: &Device) -> Result<Trainer, TrainError> {
        match self.checkpoint.clone() {
            Some(checkpoint) => Trainer::resume(recipe(config), checkpoint),
            None => Trainer::new(recipe(config), config.model.init(config.run.seed, device)),
        }
    }
}

fn damage_event(damage: &TrainError) -> Event {
    let (path, reason) = match damage {
        TrainError::Damaged { path, reason } => (path.clone(), reason.clone()),
        other => (PathBuf::new(), other.to_string()),
    };
    Event::DamagedCheckpoint { path, reason }
}

/// Keys whose change can't move a number of the run, or moves only what comes later: when something is looked at or saved.
fn is_harmless(key: &str) -> bool {
    const HARMLESS: [&str; 8] =
        ["run.name", "run.dir", "checkpoint.", "log.", "guard.", "data.cache", "validation.every_steps", "probes"];
    HARMLESS.iter().any(|prefix| key.starts_with(prefix))
}

/// What differs from the configuration that the run was started with, as events; refused where it isn't allowed.
fn changes_since_start(
    config: &RunConfig,
    directory: &RunDirectory,
    options: &TrainOptions,
) -> Result<Vec<Event>, RunError> {
    let Some(stored) = directory.stored_config()? else { return Ok(Vec::new()) };
    let differences = stored.differences(config);
    let allowed = |difference: &&Difference| {
        is_harmless(&difference.key) || options.allow_changes.iter().any(|key| difference.key.starts_with(key.as_str()))
    };
    let refused: Vec<Difference> = differences.iter().filter(|difference| !allowed(difference)).cloned().collect();
    if !refused.is_empty() && has_checkpoints(directory)? {
        return Err(RunError::ConfigChanged { dir: directory.root().to_owned(), differences: refused });
    }
    let event = |difference: Difference| Event::ConfigChanged {
        key: difference.key,
        before: difference.left.unwrap_or_default(),
        after: difference.right.unwrap_or_default(),
    };
    Ok(differences.into_iter().map(event).collect())
}

/// Whether there is anything to lose: a run that never came to its first checkpoint may be started anew in any way.
fn has_checkpoints(directory: &RunDirectory) -> Result<bool, RunError> {
    Ok(!CheckpointFolder::new(directory.checkpoints()).steps()?.is_empty())
}

/// Writes `config.toml` and `run.json`, after checking that data and tokenizer are those of the run's start.
fn write_identity(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    start: &Start,
    options: &TrainOptions,
) -> Result<RunIdentity, RunError> {
    let now = jiff::Timestamp::now();
    let stored = directory.stored_identity()?;
    let data_fingerprint = prepared.dataset.fingerprint().to_owned();
    let tokenizer_fingerprint = prepared.tokenizer.fingerprint().to_owned();
    if let Some(stored) = stored.as_ref().filter(|_| start.checkpoint.is_some())
        && !options.allow_changes.iter().any(|key| "data".starts_with(key.as_str()) || key.starts_with("data"))
    {
        let changed = |what| Err(RunError::DataChanged { dir: directory.root().to_owned(), what });
        if stored.tokenizer_fingerprint != tokenizer_fingerprint {
            return changed("tokenizer");
        }
        if stored.data_fingerprint != data_fingerprint {
            return changed("training data");
        }
    }
    let identity = RunIdentity {
        name: config.run.name.clone(),
        config_hash: config.hash(),
        data_fingerprint,
        tokenizer_fingerprint,
        parameters: config.model.parameter_count(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sysinfo::System::host_name(),
        device: config.run.device.0.clone(),
        threads: rayon::current_num_threads(),
        created: stored.map_or(now, |stored| stored.created),
        started: now,
    };
    let json = serde_json::to_vec_pretty(&identity)
        .map_err(|source| RunError::Json { path: directory.identity(), source })?;
    write_atomically(&directory.identity(), &json)?;
    write_atomically(&directory.config(), config.to_toml().as_bytes())?;
    Ok(identity)
}

fn checkpointer(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    step: u64,
) -> Result<Checkpointer, RunError> {
    let tokenizer = &prepared.tokenizer;
    let identity = fineline_train::RunIdentity {
        seed: config.run.seed,
        config_hash: config.hash(),
        data_fingerprint: prepared.dataset.fingerprint().to_owned(),
        special_tokens: SpecialTokens { bos: tokenizer.bos_id(), eos: tokenizer.eos_id(), pad: None },
        files: companion_files(config, tokenizer.path())?,
    };
    let folder = CheckpointFolder::new(directory.checkpoints());
    Ok(Checkpointer::open(folder, config.checkpoint.clone(), identity, step)?)
}

/// Name of the configuration's copy in a checkpoint.
pub(crate) const CONFIG_COPY: &str = "fineline.toml";

/// What a checkpoint carries besides tensors: the tokenizer, so that others can load it, and the configuration, so that `probe` asks
/// the questions of the run. The copy names no folder: equal runs leave equal checkpoints wherever they lie.
fn companion_files(config: &RunConfig, tokenizer: &Path) -> Result<BTreeMap<String, Vec<u8>>, RunError> {
    let mut copy = config.clone();
    copy.run.dir = PathBuf::from(&copy.run.name);
    let mut files = BTreeMap::from([(CONFIG_COPY.to_owned(), copy.to_toml().into_bytes())]);
    files.insert("tokenizer.json".to_owned(), fs::read(tokenizer)?);
    let settings = tokenizer.with_file_name("tokenizer_config.json");
    let settings = if settings.is_file() {
        fs::read(settings)?
    } else {
        json!({ "tokenizer_class": "PreTrainedTokenizerFast" }).to_string().into_bytes()
    };
    files.insert("tokenizer_config.json".to_owned(), settings);
    Ok(files)
}
