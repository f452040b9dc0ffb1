//! Where training begins.

use burn::tensor::Device;
use fineline_train::{Checkpoint, CheckpointFolder, TrainError, Trainer};

use crate::RunError;
use crate::checkpoint::find_checkpoint;
use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::events::Event;
use crate::lifecycle::{Resume, recipe};

/// Where training begins, and what is to be said of it.
pub(crate) struct Start {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) events: Vec<Event>,
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

    /// The trainer at that point.
    pub(crate) fn trainer(&self, config: &RunConfig, device: &Device) -> Result<Trainer, TrainError> {
        match self.checkpoint.clone() {
            Some(checkpoint) => Trainer::resume(recipe(config), checkpoint),
            None => Trainer::new(recipe(config), config.model.init(config.run.seed, device)),
        }
    }
}

fn damage_event(damage: &TrainError) -> Event {
    let (path, reason) = match damage {
        TrainError::Damaged { path, reason } => (path.clone(), reason.clone()),
        other => (std::path::PathBuf::new(), other.to_string()),
    };
    Event::DamagedCheckpoint { path, reason }
}
