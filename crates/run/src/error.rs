//! Why a run, or a look at one, failed.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};
use fineline_layout::{UnsupportedSchema, step_name};
use thiserror::Error;

use crate::config::{BUILT_IN, ConfigDifference, ConfigError, DeviceName};

/// Why a run, or a look at one, failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file system failed; the message has the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Data can't be read or don't fit.
    #[error(transparent)]
    Data(#[from] fineline_data::DataError),
    /// A model's configuration can't be read.
    #[error(transparent)]
    Model(#[from] fineline_model::ModelConfigError),
    /// A model's weights can't be read.
    #[error(transparent)]
    Weights(#[from] fineline_model::ModelWeightsError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] fineline_train::TrainError),
    /// Probes can't be read or scored.
    #[error(transparent)]
    Probe(#[from] fineline_probe::ProbeError),
    /// Probes were stopped before their end.
    #[error(transparent)]
    Interrupted(#[from] fineline_probe::Interrupted),
    /// A stop was asked for while nothing was done yet.
    #[error("stopped by signal {signal} before training")]
    Stopped {
        /// Its number.
        signal: usize,
    },
    /// Another process trains in this folder.
    #[error("{}: another process trains in this folder; stop it, or give this run a folder of its own (run.dir)", dir.display())]
    Locked {
        /// The run's folder.
        dir: PathBuf,
    },
    /// There is no run in a directory.
    #[error("{}: no run in this directory", dir.display())]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// There is neither a run nor a sweep in a directory.
    #[error("{}: neither a run nor a sweep in this directory", dir.display())]
    NeitherRunNorSweep {
        /// The directory.
        dir: PathBuf,
    },
    /// The run's folder was taken away.
    #[error("{} is gone: somebody removed or unmounted the run's folder while it trained; put it back and start the run again", dir.display())]
    DirectoryGone {
        /// The folder.
        dir: PathBuf,
    },
    /// More lines of the logs wait for the disk than may.
    #[error("stopped with {lines} lines of the logs that {} doesn't take{}; they are in the run's last checkpoint. Make room, and start the run again", dir.display(), over(*limit, *lines))]
    LogsUnwritable {
        /// The run's folder.
        dir: PathBuf,
        /// How many wait.
        lines: usize,
        /// How many may.
        limit: usize,
    },
    /// Nothing can be served where metrics were to be.
    #[error("log.prometheus: can't listen at {address}")]
    Prometheus {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// What a run has elsewhere can't be read.
    #[error("the run's copy elsewhere (storage.remote, --resume)")]
    #[cfg(feature = "storage")]
    Storage(#[from] fineline_storage::StorageError),
    /// This build knows no stores.
    #[error("{address}: this build can't read from stores; build it with `--features storage`")]
    NoStorage {
        /// The address.
        address: String,
    },
    /// A look ahead at a run that is in a store.
    #[error(
        "--resume {address}: a dry run fetches nothing; fetch the run by starting it, or leave `--resume` out"
    )]
    NotFetched {
        /// The address.
        address: String,
    },
    /// There are checkpoints of a run where another's are to be copied to.
    #[error("storage.remote: {url} holds the checkpoints of another run; give each run a place of its own")]
    MirrorInUse {
        /// The place.
        url: String,
    },
    /// There is no run where one was asked for.
    #[error("{url}: no whole checkpoint there{}", beside_steps(steps))]
    NothingRemote {
        /// The place.
        url: String,
        /// Steps whose checkpoints there are.
        steps: Vec<u64>,
    },
    /// A run is there already, and was not to be continued.
    #[error("{}: there is a run in this folder; leave out `--resume never` to go on with it, or give this run a folder of its own (run.dir)", dir.display())]
    Exists {
        /// The run's folder.
        dir: PathBuf,
    },
    /// The configuration isn't the one that the run was started with.
    #[error("{}: this run was last started with another configuration:\n{}\nAllow a change with `--allow-change KEY`, or give the new run a folder of its own (run.dir)", dir.display(), list(differences))]
    ConfigChanged {
        /// The run's folder.
        dir: PathBuf,
        /// What differs, and may not without leave.
        differences: Vec<ConfigDifference>,
    },
    /// What the rows of a run are counted by differs from what its checkpoint was made with.
    #[error("{}: what is saved here was made with other values:\n{}\nThe rows that a run has trained on are counted by these, so going on would leave rows out or repeat them: `--allow-change` can't allow it. Keep the values, or begin a run at step 0 in a folder of its own (run.dir)", checkpoint.display(), list(differences))]
    RowsRecounted {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What differs.
        differences: Vec<ConfigDifference>,
    },
    /// There are checkpoints, but none that can be trusted.
    #[error("{}: none of the checkpoints in it is whole; put one back, or move the run's folder away to begin at step 0 again", dir.display())]
    NothingWhole {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with the newest.
        source: Box<fineline_train::TrainError>,
    },
    /// The run has come to grief after the same checkpoint again and again.
    #[error("stopped: the run has gone back to {} {count} times (guard.max_rewinds), and step {from} goes wrong again: {reason}. That checkpoint stays where it is; leave more rows out (guard.skip_steps), lower optim.lr, or go back further with `--resume CHECKPOINT`", checkpoint.display())]
    TooManyRewinds {
        /// Where it would have gone back to.
        checkpoint: PathBuf,
        /// How many times it has been there.
        count: u32,
        /// The step that went wrong.
        from: u64,
        /// What went wrong with it.
        reason: String,
    },
    /// The data or the tokenizer aren't those of the run's last start.
    #[error("{}: changed since this run was last started: {}; restore what it was, or allow the change with {}", dir.display(), changed.join(" and "), changed.iter().map(|key| format!("`--allow-change {key}`")).collect::<Vec<_>>().join(" "))]
    DataChanged {
        /// The run's folder.
        dir: PathBuf,
        /// `tokenizer`, `data`, or both.
        changed: Vec<&'static str>,
    },
    /// Leave was given to change something that doesn't exist.
    #[error("--allow-change {key}: no value of the configuration has this key")]
    UnknownAllowance {
        /// The key.
        key: String,
    },
    /// A checkpoint of another run was to be put into this one.
    #[error("{}: this checkpoint isn't of the run in run.dir, which has checkpoints of its own and didn't branch off there; give the branch a folder of its own (run.dir)", path.display())]
    OtherRunsCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The run had checkpoints, and has none any more.
    #[error("{}: this run's checkpoints are gone; put one back, or move the folder away to begin at step 0 again", dir.display())]
    CheckpointsGone {
        /// The run's folder.
        dir: PathBuf,
    },
    /// The checkpoint that a run branched off from is gone, and it has none of its own yet.
    #[error("{}: this run branched off from here, and the checkpoint is gone before the run had one of its own; put it back, or move the folder {} away to begin at step 0", origin.display(), dir.display())]
    OriginGone {
        /// The run's folder.
        dir: PathBuf,
        /// The checkpoint.
        origin: PathBuf,
    },
    /// The folder has files of a run's names, but no run.
    #[error("{}: this isn't the folder of a run (it has no run.json), but it has a `{name}`, which a run would write over; give the run another folder (run.dir)", dir.display())]
    ForeignFiles {
        /// The folder.
        dir: PathBuf,
        /// The file or folder.
        name: String,
    },
    /// A tokenizer has more ids than the model knows.
    #[error("{}: the tokenizer has {ids} ids, but the model knows only {rows}", path.display())]
    LargerVocabulary {
        /// The model's folder.
        path: PathBuf,
        /// Ids of the tokenizer.
        ids: usize,
        /// Rows of the model's embedding.
        rows: usize,
    },
    /// There is no checkpoint where one was asked for.
    #[error("{}: no checkpoint{}", path.display(), beside_hint(beside))]
    NoCheckpoint {
        /// The path.
        path: PathBuf,
        /// Steps whose checkpoints lie in the same folder.
        beside: Vec<u64>,
    },
    /// A file of the run isn't the JSON that it should be.
    #[error("{}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser expected.
        source: serde_json::Error,
    },
    /// A file of the run was written by a newer version.
    #[error("{}: {source}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Which version it has.
        source: UnsupportedSchema,
    },
    /// A line of a log isn't the JSON that it should be.
    #[error("{}:{line}", path.display())]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser expected.
        source: serde_json::Error,
    },
    /// The stored configuration can't be read.
    #[error("{}", path.display())]
    StoredConfig {
        /// The file.
        path: PathBuf,
        /// What the parser expected.
        source: Box<toml::de::Error>,
    },
    /// An event file can't be written.
    #[error("{}", path.display())]
    TensorBoard {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Box<tfrecord::error::Error>,
    },
    /// A device of a kind that this build lacks.
    #[error("device \"{name}\" takes a build with `--features {}`; this one has {}", name.kind(), BUILT_IN.join(", "))]
    DeviceNotBuilt {
        /// The name.
        name: DeviceName,
    },
    /// A device that this machine lacks.
    #[error("there is no device \"{name}\" here{}; there is {}", driver_hint(*name), join(found))]
    NoDevice {
        /// The name.
        name: DeviceName,
        /// What there is.
        found: Vec<DeviceName>,
    },
    /// A device can't compute in the precision asked for.
    #[error("run.precision: device \"{device}\" has no {precision}; take `f32`, or another device")]
    NoPrecision {
        /// The device.
        device: DeviceName,
        /// The precision.
        precision: &'static str,
    },
    /// A device doesn't compute what it should.
    #[error("device \"{name}\" doesn't work: {problem}")]
    BrokenDevice {
        /// The name.
        name: DeviceName,
        /// What it did.
        problem: String,
    },
    /// The threads can't be started.
    #[error("can't start {threads} threads: {message}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        message: String,
    },
    /// Two runs have no step in common, so nothing can be compared.
    #[error("{} and {} have no logged step in common", left.display(), right.display())]
    NothingInCommon {
        /// One run's folder.
        left: PathBuf,
        /// The other's.
        right: PathBuf,
    },
    /// Two runs that must be equal aren't.
    #[error("the resumed run differs from the unbroken one: {0}")]
    NotEqual(String),
}

impl Classified for RunError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(error) => error.class(),
            Self::Data(error) => error.class(),
            Self::Model(error) => error.class(),
            Self::Weights(error) => error.class(),
            Self::Train(error) => error.class(),
            Self::Probe(error) => error.class(),
            #[cfg(feature = "storage")]
            Self::Storage(error) => error.class(),
            Self::RowsRecounted { .. } | Self::NoPrecision { .. } | Self::MirrorInUse { .. } => {
                ErrorClass::Configuration
            }
            Self::ConfigChanged { .. }
            | Self::DeviceNotBuilt { .. }
            | Self::Exists { .. }
            | Self::ForeignFiles { .. }
            | Self::NeitherRunNorSweep { .. }
            | Self::NoDevice { .. }
            | Self::NoStorage { .. }
            | Self::NotFetched { .. }
            | Self::OtherRunsCheckpoint { .. }
            | Self::UnknownAllowance { .. } => ErrorClass::Usage,
            Self::NotEqual(_) => ErrorClass::Internal,
            _ => ErrorClass::Environment,
        }
    }
}

fn list(differences: &[ConfigDifference]) -> String {
    let lines = differences.iter().map(|difference| {
        let show = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or_else(|| "unset".to_owned(), ToString::to_string)
        };
        format!("  {}: {} -> {}", difference.key, show(&difference.left), show(&difference.right))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn driver_hint(name: DeviceName) -> &'static str {
    match name {
        DeviceName::Cpu => "",
        DeviceName::Wgpu => {
            " (on Linux it takes a Vulkan driver; Debian's mesa-vulkan-drivers has one that computes on the processor)"
        }
        DeviceName::Cuda(_) => " (it takes NVIDIA's driver; CUDA_VISIBLE_DEVICES may hide devices)",
    }
}

fn join(names: &[DeviceName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn over(limit: usize, lines: usize) -> String {
    if lines > limit { format!(", more than log.max_buffered_lines ({limit})") } else { String::new() }
}

fn beside_steps(steps: &[u64]) -> String {
    let names: Vec<String> = steps.iter().copied().map(step_name).collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

fn beside_hint(steps: &[u64]) -> String {
    if steps.is_empty() {
        return ": expected a model folder, or the folder of a run".to_owned();
    }
    let names: Vec<String> = steps.iter().copied().map(step_name).collect();
    format!("; beside it are {}", names.join(", "))
}
