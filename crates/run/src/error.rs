//! Errors of a run.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};
use fineline_layout::{UnsupportedSchema, step_name};
use thiserror::Error;

use crate::config::{BUILT_IN, ConfigDifference, ConfigError, DeviceName};

/// An error of a run, or of a tool that reads one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file system failed. The message has the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The data can't be read, or don't match the configuration.
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
    /// Probes can't be read or evaluated.
    #[error(transparent)]
    Probe(#[from] fineline_probe::ProbeError),
    /// An evaluation was interrupted.
    #[error(transparent)]
    Interrupted(#[from] fineline_probe::Interrupted),
    /// A signal requested a stop before training.
    #[error("stopped by signal {signal} before training")]
    Stopped {
        /// The signal's number.
        signal: usize,
    },
    /// Another process trains in this directory.
    #[error(
        "{}: another process trains in this directory; stop it, or set run.dir to another directory",
        dir.display()
    )]
    Locked {
        /// Directory of the run.
        dir: PathBuf,
    },
    /// There is no run in the directory.
    #[error("{}: no run in this directory", dir.display())]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// There is neither a run nor a sweep in the directory.
    #[error("{}: neither a run nor a sweep in this directory", dir.display())]
    NeitherRunNorSweep {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory was removed or replaced during training.
    #[error(
        "{}: the directory was removed or unmounted during training; restore it, and start the run again",
        dir.display()
    )]
    DirectoryGone {
        /// The directory.
        dir: PathBuf,
    },
    /// More log lines are buffered than `log.max_buffered_lines` allows.
    #[error(
        "stopped with {lines} log lines that can't be written to {}{}; the last checkpoint carries them. \
         Free space, and start the run again",
        dir.display(),
        over(*limit, *lines)
    )]
    LogsUnwritable {
        /// Directory of the run.
        dir: PathBuf,
        /// Number of buffered lines.
        lines: usize,
        /// Maximum number.
        limit: usize,
    },
    /// The address of `log.prometheus` can't be used.
    #[error("log.prometheus: can't listen at {address}")]
    Prometheus {
        /// The address.
        address: std::net::SocketAddr,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Remote storage can't be read.
    #[error("remote storage (storage.remote, --resume)")]
    #[cfg(feature = "storage")]
    Storage(#[from] fineline_storage::StorageError),
    /// This build doesn't support remote storage.
    #[error("{address}: this build has no remote storage; build it with `--features storage`")]
    NoStorage {
        /// The address.
        address: String,
    },
    /// A dry run of a run in remote storage.
    #[error(
        "--resume {address}: a dry run downloads nothing; start the run to download it, or omit `--resume`"
    )]
    NotFetched {
        /// The address.
        address: String,
    },
    /// The remote storage holds checkpoints of another run.
    #[error("storage.remote: {url} holds the checkpoints of another run; give each run its own address")]
    RemoteInUse {
        /// Address of the run in remote storage.
        url: String,
    },
    /// The remote storage has no complete checkpoint.
    #[error("{url}: no complete checkpoint there{}", beside_steps(steps))]
    NothingRemote {
        /// Address of the run in remote storage.
        url: String,
        /// Steps of the checkpoints that it has.
        steps: Vec<u64>,
    },
    /// There already is a run in the directory, and `--resume never` was given.
    #[error(
        "{}: there already is a run in this directory; resume it without `--resume never`, or set run.dir \
         to another directory",
        dir.display()
    )]
    Exists {
        /// Directory of the run.
        dir: PathBuf,
    },
    /// The configuration differs from that of the last start.
    #[error(
        "{}: the configuration differs from that of the last start:\n{}\n\
         Allow a change with `--allow-change KEY`, or set run.dir to another directory",
        dir.display(),
        list(differences)
    )]
    ConfigChanged {
        /// Directory of the run.
        dir: PathBuf,
        /// Differences that aren't allowed.
        differences: Vec<ConfigDifference>,
    },
    /// Values that determine the numbering of rows differ from those of the checkpoint.
    #[error(
        "{}: made with other values:\n{}\n\
         They determine the numbering of rows, so rows would be skipped or repeated, and `--allow-change` \
         can't allow it. Keep the values, or start a run at step 0 in another directory (run.dir)",
        checkpoint.display(),
        list(differences)
    )]
    RowsRecounted {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The differences.
        differences: Vec<ConfigDifference>,
    },
    /// All checkpoints are damaged.
    #[error(
        "{}: all checkpoints are damaged; restore one, or move the directory of the run away to start at \
         step 0",
        dir.display()
    )]
    NoCompleteCheckpoint {
        /// Directory of the checkpoints.
        dir: PathBuf,
        /// The error of the newest one.
        source: Box<fineline_train::TrainError>,
    },
    /// The run would go back to the same checkpoint once more than allowed.
    #[error(
        "stopped: the run has gone back to {} {count} times (guard.max_rewinds), and step {from} fails \
         again: {reason}. The checkpoint is kept; skip more rows (guard.skip_steps), reduce optim.lr, or go \
         back further with `--resume CHECKPOINT`",
        checkpoint.display()
    )]
    TooManyRewinds {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Number of rewinds to it so far.
        count: u32,
        /// Step at which the problem occurred.
        from: u64,
        /// The problem.
        reason: String,
    },
    /// The data or the tokenizer differ from those of the last start.
    #[error(
        "{}: changed since the last start: {}; restore it, or allow the change with {}",
        dir.display(),
        changed.join(" and "),
        changed.iter().map(|key| format!("`--allow-change {key}`")).collect::<Vec<_>>().join(" ")
    )]
    DataChanged {
        /// Directory of the run.
        dir: PathBuf,
        /// `tokenizer`, `data`, or both.
        changed: Vec<&'static str>,
    },
    /// `--allow-change` names an unknown key.
    #[error("--allow-change {key}: no value of the configuration has this key")]
    UnknownAllowance {
        /// The key.
        key: String,
    },
    /// A checkpoint of another run was given for a run that has its own.
    #[error(
        "{}: this checkpoint isn't of the run in run.dir, which has its own checkpoints and didn't branch \
         off there; set run.dir to another directory for a branch",
        path.display()
    )]
    OtherRunsCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The log mentions checkpoints, but there are none.
    #[error(
        "{}: the checkpoints of this run are missing; restore one, or move the directory away to start at \
         step 0",
        dir.display()
    )]
    CheckpointsGone {
        /// Directory of the run.
        dir: PathBuf,
    },
    /// The checkpoint that the run branched off from is missing, and the run has none of its own.
    #[error(
        "{}: this run branched off from here, but the checkpoint is missing and the run has none of its own; \
         restore it, or move {} away to start at step 0",
        origin.display(),
        dir.display()
    )]
    OriginGone {
        /// Directory of the run.
        dir: PathBuf,
        /// The checkpoint.
        origin: PathBuf,
    },
    /// The directory has files that a run would overwrite, but no run.
    #[error(
        "{}: this isn't the directory of a run (it has no run.json), but it has a `{name}`, which a run \
         would overwrite; set run.dir to another directory",
        dir.display()
    )]
    ForeignFiles {
        /// The directory.
        dir: PathBuf,
        /// Name of the file or directory.
        name: String,
    },
    /// The tokenizer has more ids than the model's embedding has rows.
    #[error(
        "{}: the tokenizer has {ids} ids, but the model's embedding has only {rows} rows",
        path.display()
    )]
    LargerVocabulary {
        /// Directory of the model.
        path: PathBuf,
        /// Number of ids of the tokenizer.
        ids: usize,
        /// Number of rows of the embedding.
        rows: usize,
    },
    /// There is no checkpoint at the path.
    #[error("{}: no checkpoint{}", path.display(), beside_hint(beside))]
    NoCheckpoint {
        /// The path.
        path: PathBuf,
        /// Steps of the checkpoints in the same directory.
        beside: Vec<u64>,
    },
    /// A file of the run isn't valid JSON.
    #[error("{}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// A file of the run was written by a newer version.
    #[error("{}: {source}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version.
        source: UnsupportedSchema,
    },
    /// A line of a log isn't valid JSON.
    #[error("{}:{line}", path.display())]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// The stored configuration can't be read.
    #[error("{}", path.display())]
    StoredConfig {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        source: Box<toml::de::Error>,
    },
    /// A TensorBoard event file can't be written.
    #[error("{}", path.display())]
    TensorBoard {
        /// The file.
        path: PathBuf,
        /// Error of the reader.
        source: Box<tfrecord::error::Error>,
    },
    /// This build doesn't support devices of this kind.
    #[error(
        "device \"{name}\" requires a build with `--features {}`; this build supports {}",
        name.kind(),
        BUILT_IN.join(", ")
    )]
    DeviceNotBuilt {
        /// The name.
        name: DeviceName,
    },
    /// This machine doesn't have the device.
    #[error("this machine has no device \"{name}\"{}; it has {}", driver_hint(*name), join(found))]
    NoDevice {
        /// The name.
        name: DeviceName,
        /// Devices that it has.
        found: Vec<DeviceName>,
    },
    /// The device doesn't support the precision.
    #[error("run.precision: device \"{device}\" has no {precision}; use `f32`, or another device")]
    NoPrecision {
        /// The device.
        device: DeviceName,
        /// The precision.
        precision: &'static str,
    },
    /// The device computes wrongly.
    #[error("device \"{name}\" doesn't work: {problem}")]
    BrokenDevice {
        /// The name.
        name: DeviceName,
        /// Description of the problem.
        problem: String,
    },
    /// The threads can't be started.
    #[error("can't start {threads} threads: {message}")]
    Threads {
        /// Number of threads.
        threads: usize,
        /// Error of the operating system.
        message: String,
    },
    /// Two runs have no logged step in common.
    #[error("{} and {} have no logged step in common", left.display(), right.display())]
    NothingInCommon {
        /// Directory of one run.
        left: PathBuf,
        /// Directory of the other.
        right: PathBuf,
    },
    /// A resumed run differs from the unbroken one.
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
            Self::RowsRecounted { .. } | Self::NoPrecision { .. } | Self::RemoteInUse { .. } => {
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
            " (on Linux it requires a Vulkan driver; Debian's mesa-vulkan-drivers has one that runs on the \
             CPU)"
        }
        DeviceName::Cuda(_) => " (it requires NVIDIA's driver; CUDA_VISIBLE_DEVICES may hide devices)",
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
        return ": expected a model directory, or the directory of a run".to_owned();
    }
    let names: Vec<String> = steps.iter().copied().map(step_name).collect();
    format!("; the same directory has {}", names.join(", "))
}
