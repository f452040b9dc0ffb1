//! The folder of a run: its layout, its lock, its identity.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fineline_files::{create_directory, remove_temporary_files};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::RunError;
use crate::config::RunConfig;
use crate::released::InitRecord;

pub use fineline_files::write_atomically;

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
        self.root.join(RANKS)
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

    /// Refuses a folder that is no run's, but holds what a run would write over.
    ///
    /// # Errors
    /// [`RunError::ForeignFiles`], or a `run.json` that isn't a run's.
    pub fn refuse_foreign_files(&self) -> Result<(), RunError> {
        if self.is_run() {
            return self.stored_identity().map(drop);
        }
        let own = [
            self.config(),
            self.metrics(),
            self.probes(),
            self.events(),
            self.digests(),
            self.items_folder(),
            self.representations_folder(),
            self.tensorboard(),
            self.checkpoints(),
        ];
        let Some(found) = own.into_iter().find(|path| path.exists()) else { return Ok(()) };
        let name = found.strip_prefix(&self.root).unwrap_or(&found).display().to_string();
        Err(RunError::ForeignFiles { dir: self.root.clone(), name })
    }

    /// Makes the folder and keeps every other trainer out of it until the lock is dropped. What a killed one has left half
    /// written is removed; `checkpoints` looks after itself.
    ///
    /// # Errors
    /// [`RunError::Locked`] where another process has the run.
    pub fn lock(&self) -> Result<RunLock, RunError> {
        let new = (!self.root.exists()).then(|| self.root.clone());
        create_directory(&self.root)?;
        let path = self.root.join(LOCK);
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {
                remove_temporary_files(&self.root)?;
                remove_temporary_files(&self.items_folder())?;
                remove_temporary_files(&self.representations_folder())?;
                Ok(RunLock { _file: file, new })
            }
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { dir: self.root.clone() }),
            Err(TryLockError::Error(source)) => Err(RunError::Io(io::Error::new(
                source.kind(),
                format!("can't lock {}: {source}", path.display()),
            ))),
        }
    }
}

/// Which folder a path led to at a moment: another one may come to lie there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FolderId(#[cfg(unix)] (u64, u64));

impl FolderId {
    /// Of the folder that is there; none if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Some(Self((metadata.dev(), metadata.ino())))
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Some(Self())
        }
    }
}

/// The right to write into a run's folder. The operating system takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct RunLock {
    _file: fs::File,
    /// The folder, if it was made for this.
    new: Option<PathBuf>,
}

impl Drop for RunLock {
    /// A start that came to nothing leaves no folder behind.
    fn drop(&mut self) {
        let Some(folder) = &self.new else { return };
        let is_of_no_run = |name: &OsStr| name == LOCK || name == RANKS;
        let is_empty = fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().all(|entry| is_of_no_run(&entry.file_name())));
        if is_empty {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Name of the file that is locked.
const LOCK: &str = ".lock";
/// Name of the folder of signs of life.
const RANKS: &str = ".ranks";

/// `run.json`: what the run is made of, and where it was last started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The run's name.
    pub name: String,
    /// Hash of the configuration ([`RunConfig::hash`]).
    pub config_hash: String,
    /// Fingerprint of everything that decides the training rows.
    pub data_fingerprint: String,
    /// BLAKE3 of the tokenizer's file.
    pub tokenizer_fingerprint: String,
    /// Parameters of the model.
    pub parameters: u64,
    /// Version of the program.
    pub version: String,
    /// Name of the machine, where it tells.
    pub host: Option<String>,
    /// Device of the last start.
    pub device: String,
    /// Ranks of the last start.
    #[serde(default = "one")]
    pub ranks: usize,
    /// Threads of the last start, of each process.
    pub threads: usize,
    /// When the run was first started.
    pub created: jiff::Timestamp,
    /// When it was last started.
    pub started: jiff::Timestamp,
    /// What a run that branched off from another run's checkpoint began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The released weights that the run started from, and what is exact about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRecord>,
}

/// Where a run branched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// What the user gave for it: the checkpoint itself, or the folder of its run.
    pub given: PathBuf,
}

impl RunDirectory {
    /// The configuration that the run in this folder was started with; none in a fresh folder.
    ///
    /// # Errors
    /// A file that is there but can't be read as a configuration.
    pub fn stored_config(&self) -> Result<Option<RunConfig>, RunError> {
        let path = self.config();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        toml::from_str(&text)
            .map(Some)
            .map_err(|source| RunError::StoredConfig { path, source: Box::new(source) })
    }

    /// Writes `run.json` and `config.toml`.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn write_identity(&self, identity: &RunIdentity, config: &RunConfig) -> Result<(), RunError> {
        let path = self.identity();
        let mut json = serde_json::to_vec_pretty(identity)
            .map_err(|source| RunError::Json { path: path.clone(), source })?;
        json.push(b'\n');
        // First: it is what makes the folder that of a run.
        write_atomically(&path, &json)?;
        Ok(write_atomically(&self.config(), config.to_toml().as_bytes())?)
    }

    /// The identity that the run in this folder has; none in a fresh folder.
    ///
    /// # Errors
    /// A file that is there but can't be read.
    pub fn stored_identity(&self) -> Result<Option<RunIdentity>, RunError> {
        let path = self.identity();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text).map(Some).map_err(|source| RunError::Json { path, source })
    }
}

/// What runs of versions without ranks had.
fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_trainer_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(folder.path().join("run"));
        let lock = directory.lock().unwrap();
        assert!(matches!(directory.lock(), Err(RunError::Locked { .. })));
        drop(lock);
        directory.lock().unwrap();
    }

    #[test]
    fn a_new_trainer_clears_away_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(folder.path());
        let written = [directory.config(), directory.items(1), directory.items(252)];
        for path in &written {
            fineline_files::create_parent_directory(path).unwrap();
            write_atomically(path, b"whole").unwrap();
            // Nobody drops it: so does a kill.
            std::mem::forget(fineline_files::AtomicFile::create(path).unwrap());
        }
        let files = || {
            let folders = [directory.root().to_owned(), directory.items_folder()];
            folders.map(|folder| fs::read_dir(folder).unwrap().count()).iter().sum::<usize>()
        };
        assert_eq!(files(), 1 + 2 * written.len());
        let _lock = directory.lock().unwrap();
        assert_eq!(files(), 2 + written.len(), "the lock, the folder of items, and what is whole");
        assert!(written.iter().all(|path| path.is_file()));
    }
}
