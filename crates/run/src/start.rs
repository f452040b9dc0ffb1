//! Where training begins.

use std::path::Path;

use burn::tensor::Device;
use fineline_train::{Checkpoint, CheckpointFolder, TrainError, Trainer};
use fs_err as fs;

use crate::RunError;
use crate::checkpoint::find_checkpoint;
use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::events::{Event, EventRecord};
use crate::jsonl::read_lines;
use crate::lifecycle::{Resume, recipe};

/// Where training begins, and what is to be said of it.
pub(crate) struct Start {
    checkpoint: Option<Checkpoint>,
    events: Vec<Event>,
}

impl Start {
    /// Loads what `resume` asks for, verified; nothing for a run that begins.
    pub(crate) fn find(
        config: &RunConfig,
        directory: &RunDirectory,
        resume: &Resume,
        device: &Device,
    ) -> Result<Self, RunError> {
        let folder = CheckpointFolder::new(directory.checkpoints());
        let (path, mut events) = match resume {
            Resume::From(path) => {
                let path = find_checkpoint(path)?;
                refuse_other_runs_checkpoint(&path, &folder)?;
                fineline_train::verify(&path)?;
                (Some(path), Vec::new())
            }
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
                if found.newest_whole.is_none() && had_checkpoints(directory)? {
                    return Err(RunError::CheckpointsGone { dir: directory.root().to_owned() });
                }
                (found.newest_whole, found.damaged.iter().map(damage_event).collect())
            }
        };
        let checkpoint =
            path.as_deref().map(|path| Checkpoint::load(path, &config.model, device)).transpose()?;
        events.push(match path {
            Some(checkpoint) => Event::Resumed { checkpoint },
            None => Event::Started,
        });
        Ok(Self { checkpoint, events })
    }

    /// Whether there is something to go on with.
    pub(crate) fn is_resumed(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// The trainer at that point, and what is to be logged. Nothing of the checkpoint is kept besides: its tensors would stay in
    /// memory beside those that training replaces them with.
    pub(crate) fn into_trainer(
        self,
        config: &RunConfig,
        device: &Device,
    ) -> Result<(Trainer, Vec<Event>), TrainError> {
        let trainer = match self.checkpoint {
            Some(checkpoint) => Trainer::resume(recipe(config), checkpoint),
            None => Trainer::new(recipe(config), config.model.init(config.run.seed, device)),
        }?;
        Ok((trainer, self.events))
    }
}

/// Whether the log tells of a checkpoint: then a folder without any has lost them.
fn had_checkpoints(directory: &RunDirectory) -> Result<bool, RunError> {
    let events: Vec<EventRecord> = read_lines(&directory.events())?;
    Ok(events.iter().any(|record| matches!(record.event, Event::Checkpoint { .. })))
}

/// Refuses to replace what a run has by another run's state.
fn refuse_other_runs_checkpoint(path: &Path, own: &CheckpointFolder) -> Result<(), RunError> {
    let is_own =
        || Ok::<_, RunError>(fs::canonicalize(path)?.parent() == Some(&fs::canonicalize(own.path())?));
    if own.steps()?.is_empty() || is_own()? {
        return Ok(());
    }
    Err(RunError::OtherRunsCheckpoint { path: path.to_owned() })
}

fn damage_event(damage: &TrainError) -> Event {
    let (path, reason) = match damage {
        TrainError::Damaged { path, reason } => (path.clone(), reason.clone()),
        other => (std::path::PathBuf::new(), other.to_string()),
    };
    Event::DamagedCheckpoint { path, reason }
}
