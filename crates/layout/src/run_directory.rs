//! Paths of a run's directory.

use std::path::{Path, PathBuf};

use crate::step_name::step_name;

/// `run.json`. A directory that has it is the directory of a run.
pub const RUN_FILE: &str = "run.json";
/// Directory of the checkpoints.
pub const CHECKPOINTS_DIR: &str = "checkpoints";

const CONFIG_FILE: &str = "config.toml";
const METRICS_FILE: &str = "metrics.jsonl";
const PROBES_FILE: &str = "probes.jsonl";
const EVENTS_FILE: &str = "events.jsonl";
const DIGESTS_FILE: &str = "digests.jsonl";
const ITEMS_DIR: &str = "items";
const REPRESENTATIONS_DIR: &str = "representations";
const TENSORBOARD_DIR: &str = "tensorboard";
const BRANCHES_DIR: &str = "branches";
const COMMAND_OUTPUT_FILE: &str = "commands.log";
const SWEEP_FILE: &str = "sweep.json";
const SWEEP_RESULTS_DIR: &str = "results";
const LOCK_FILE: &str = ".lock";
const HEARTBEATS_DIR: &str = ".ranks";

/// Files directly in a run's directory that are uploaded to remote storage. `run.json` comes last, because it
/// makes the remote directory that of a run.
pub const UPLOADED_FILES: [&str; 6] =
    [CONFIG_FILE, METRICS_FILE, PROBES_FILE, EVENTS_FILE, DIGESTS_FILE, RUN_FILE];

/// Directories whose files are uploaded. Each of these files is written once.
pub const UPLOADED_DIRS: [&str; 2] = [ITEMS_DIR, REPRESENTATIONS_DIR];

/// Returns the path of a step's checkpoint in remote storage, relative to the run.
#[must_use]
pub fn remote_checkpoint_path(step: u64) -> String {
    format!("{CHECKPOINTS_DIR}/{}", step_name(step))
}

/// The paths of a run, as docs/reference/run-directory.md documents them.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// The run at `root`, which doesn't have to exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`: the resolved configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join(CONFIG_FILE)
    }

    /// `run.json`: the identity of the run.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join(RUN_FILE)
    }

    /// `metrics.jsonl`: one line per logged step.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join(METRICS_FILE)
    }

    /// `probes.jsonl`: one line per evaluated step and task.
    #[must_use]
    pub fn probes(&self) -> PathBuf {
        self.root.join(PROBES_FILE)
    }

    /// `events.jsonl`: checkpoints, resumes, skipped updates and other events.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join(EVENTS_FILE)
    }

    /// `digests.jsonl`: hashes of the parameters after each step, with `log.digest`.
    #[must_use]
    pub fn digests(&self) -> PathBuf {
        self.root.join(DIGESTS_FILE)
    }

    /// Directory of the item files.
    #[must_use]
    pub fn items_dir(&self) -> PathBuf {
        self.root.join(ITEMS_DIR)
    }

    /// Scores of every probe item at `step`.
    #[must_use]
    pub fn items(&self, step: u64) -> PathBuf {
        self.items_dir().join(format!("{}.parquet", step_name(step)))
    }

    /// Directory of the files about representations.
    #[must_use]
    pub fn representations_dir(&self) -> PathBuf {
        self.root.join(REPRESENTATIONS_DIR)
    }

    /// Similarity of the representations at `step`, layer by layer, to each other and to those of earlier
    /// rounds.
    #[must_use]
    pub fn similarities(&self, step: u64) -> PathBuf {
        self.representations_dir().join(format!("{}.parquet", step_name(step)))
    }

    /// Gram matrices of the representations at `step`, which later rounds are compared with.
    #[must_use]
    pub fn representations(&self, step: u64) -> PathBuf {
        self.representations_dir().join(format!("{}.safetensors", step_name(step)))
    }

    /// Directory of TensorBoard's event files.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join(TENSORBOARD_DIR)
    }

    /// Directory of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join(CHECKPOINTS_DIR)
    }

    /// Directory of the heartbeats of the run's ranks, while it runs.
    #[must_use]
    pub fn heartbeats(&self) -> PathBuf {
        self.root.join(HEARTBEATS_DIR)
    }

    /// Directory of the branches that triggers have prepared.
    #[must_use]
    pub fn branches(&self) -> PathBuf {
        self.root.join(BRANCHES_DIR)
    }

    /// `commands.log`: output of the commands of triggers.
    #[must_use]
    pub fn command_output(&self) -> PathBuf {
        self.root.join(COMMAND_OUTPUT_FILE)
    }

    /// `sweep.json`: the record of a sweep.
    #[must_use]
    pub fn sweep(&self) -> PathBuf {
        self.root.join(SWEEP_FILE)
    }

    /// Directory of the results of a sweep's checkpoints.
    #[must_use]
    pub fn sweep_results(&self) -> PathBuf {
        self.root.join(SWEEP_RESULTS_DIR)
    }

    /// The file that the process which trains in the directory holds a lock on.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    /// Whether this is the directory of a sweep: the probe log of checkpoints of others, without a run.
    #[must_use]
    pub fn is_sweep(&self) -> bool {
        self.sweep().is_file()
    }

    /// Whether there is a run in the directory. Only a run has a `run.json`, which is written when it starts.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.identity().is_file()
    }

    /// Files and directories that a run would overwrite or add to.
    #[must_use]
    pub fn own_paths(&self) -> [PathBuf; 9] {
        [
            self.config(),
            self.metrics(),
            self.probes(),
            self.events(),
            self.digests(),
            self.items_dir(),
            self.representations_dir(),
            self.tensorboard(),
            self.checkpoints(),
        ]
    }

    /// Whether a name directly in the directory says nothing about a run: the lock and the heartbeats.
    #[must_use]
    pub fn is_transient(name: &str) -> bool {
        [LOCK_FILE, HEARTBEATS_DIR].contains(&name)
    }
}
