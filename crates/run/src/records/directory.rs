//! The folder of a run: its layout.

use std::path::{Path, PathBuf};

/// The paths of a run, as docs/reference/run-directory.md lays them out.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// The run at `root`, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// What the run is: see [`RunIdentity`].
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// One line per logged step.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// One line per probed step and task.
    #[must_use]
    pub fn probes(&self) -> PathBuf {
        self.root.join("probes.jsonl")
    }

    /// What happened: checkpoints, resumes, skipped steps.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// Hashes of the parameters after each step, where `log.digest` asks for them.
    #[must_use]
    pub fn digests(&self) -> PathBuf {
        self.root.join("digests.jsonl")
    }

    /// The folder of item files.
    #[must_use]
    pub fn items_folder(&self) -> PathBuf {
        self.root.join("items")
    }

    /// The scores of every probe item at `step`.
    #[must_use]
    pub fn items(&self, step: u64) -> PathBuf {
        self.items_folder().join(format!("step-{step:08}.parquet"))
    }

    /// The folder of what is kept of representations.
    #[must_use]
    pub fn representations_folder(&self) -> PathBuf {
        self.root.join("representations")
    }

    /// How alike the representations of texts at `step` are, layer by layer, to each other and to those of earlier rounds.
    #[must_use]
    pub fn similarities(&self, step: u64) -> PathBuf {
        self.representations_folder().join(format!("step-{step:08}.parquet"))
    }

    /// The Gram matrices of those representations, for later rounds to be compared with.
    #[must_use]
    pub fn representations(&self, step: u64) -> PathBuf {
        self.representations_folder().join(format!("step-{step:08}.safetensors"))
    }

    /// TensorBoard's event files.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// Checkpoints, one folder each.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Signs of life of a run's ranks, while it runs.
    #[must_use]
    pub fn ranks(&self) -> PathBuf {
        self.root.join(".ranks")
    }

    /// What triggers have made ready to branch off.
    #[must_use]
    pub fn branches(&self) -> PathBuf {
        self.root.join("branches")
    }

    /// What the commands of triggers print.
    #[must_use]
    pub fn command_output(&self) -> PathBuf {
        self.root.join("commands.log")
    }

    /// What the sweep is whose probe log this is: see [`crate::sweep`].
    #[must_use]
    pub fn sweep(&self) -> PathBuf {
        self.root.join("sweep.json")
    }

    /// Whether this is the folder of a sweep: a probe log of checkpoints that others made, and no run.
    #[must_use]
    pub fn is_sweep(&self) -> bool {
        self.sweep().is_file()
    }

    /// Whether there is a run in the folder: nothing but a run has a `run.json`, and it has it from its beginning.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.identity().is_file()
    }
}
