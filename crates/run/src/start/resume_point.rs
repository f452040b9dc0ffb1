//! What there is to go on from, and which of it is taken.

use std::path::{Path, PathBuf};

use fineline_data::Dataset;
use fineline_ranks::Ranks;
use fineline_train::{CheckpointDirectory, CheckpointState, TrainError};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::changes::refuse_recounted_rows;
use super::fetched_weights::FetchedWeights;
use super::released::{ReleasedWeights, continued};
use super::resume::ResumeRequest;

use crate::checkpoints::companions::stored_config;
use crate::checkpoints::find::find_checkpoint;
use crate::config::{Resolved, RunConfig};
use crate::error::RunError;
use crate::records::events::{Event, EventRecord};
use crate::records::identity::{BranchOrigin, RunIdentity};
use crate::records::jsonl::read_lines;
use fineline_layout::RunDirectory;

/// What decides where training begins.
#[derive(Clone, Copy)]
pub(crate) struct ResumeContext<'a> {
    /// The configuration.
    pub(crate) resolved: &'a Resolved,
    /// The run's folder.
    pub(crate) directory: &'a RunDirectory,
    /// What the folder tells of the run that is in it.
    pub(crate) stored: Option<&'a RunIdentity>,
    /// The rows, which tell where a chunk ends.
    pub(crate) dataset: &'a Dataset,
    /// What the caller asks for.
    pub(crate) resume: &'a ResumeRequest,
    /// What `init.from` stands for, if that is a model of the hub and has been fetched.
    pub(crate) fetched: Option<&'a FetchedWeights>,
}

/// Where training would begin.
pub(crate) struct PlannedStart {
    /// Steps done by then.
    pub(crate) step: u64,
    /// Whether it is the run itself that goes on.
    pub(crate) goes_on: bool,
    /// What is to be said of it.
    pub(crate) events: Vec<Event>,
}

/// What there is to go on from.
pub(super) enum ResumePoint {
    /// Nothing: step 0.
    Fresh,
    /// Weights that somebody released.
    Released(ReleasedWeights),
    /// Another run's checkpoint: the run has none of its own yet.
    Branch(BranchOrigin),
    /// A checkpoint of the run itself.
    Own(PathBuf),
}

/// A point as rank 0 tells the others of it.
#[derive(Serialize, Deserialize)]
enum SharedResumePoint {
    /// The beginning, or released weights: the configuration says which.
    Local,
    Branch(BranchOrigin),
    Own(PathBuf),
}

impl ResumePoint {
    fn choice(&self) -> SharedResumePoint {
        match self {
            Self::Fresh | Self::Released(_) => SharedResumePoint::Local,
            Self::Branch(origin) => SharedResumePoint::Branch(origin.clone()),
            Self::Own(path) => SharedResumePoint::Own(path.clone()),
        }
    }

    pub(super) fn event(&self) -> Event {
        match self {
            Self::Released(released) => Event::Initialized { init: Box::new(released.record.clone()) },
            Self::Fresh => Event::Started,
            Self::Branch(origin) => Event::Resumed { checkpoint: origin.checkpoint.clone() },
            Self::Own(path) => Event::Resumed { checkpoint: path.clone() },
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Fresh | Self::Released(_) => None,
            Self::Branch(origin) => Some(&origin.checkpoint),
            Self::Own(path) => Some(path),
        }
    }
}

impl ResumeContext<'_> {
    /// Where training would begin. Nothing is loaded.
    pub(crate) fn planned_start(&self) -> Result<PlannedStart, RunError> {
        let (point, mut events) = self.point()?;
        let step = match (&point, point.path()) {
            (ResumePoint::Released(released), _) => released.record.step,
            (_, Some(path)) => {
                let config = &self.resolved.config;
                refuse_other_rows(path, config)?;
                fineline_train::check_same_model(path, &config.model)?;
                CheckpointState::read(path)?.progress.step
            }
            (_, None) => 0,
        };
        events.push(point.event());
        Ok(PlannedStart { step, goes_on: matches!(point, ResumePoint::Own(_)), events })
    }

    /// The point that rank 0 finds. The others look for themselves only where nothing depends on what is in the folder.
    pub(super) fn agree(&self, ranks: &dyn Ranks) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let own = if ranks.is_first() { Some(self.point()?) } else { None };
        let choice = ranks.broadcast(own.as_ref().map(|(point, _)| point.choice()));
        match own {
            Some(found) => Ok(found),
            None => self.follow(choice),
        }
    }

    fn follow(&self, choice: SharedResumePoint) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let point = match choice {
            SharedResumePoint::Local => return self.point(),
            SharedResumePoint::Branch(origin) => ResumePoint::Branch(origin),
            SharedResumePoint::Own(path) => ResumePoint::Own(path),
        };
        Ok((point, Vec::new()))
    }

    /// Where training begins, before anything is loaded, and what is to be said of it.
    fn point(&self) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let Self { directory, resume, .. } = self;
        let origin = self.stored.and_then(|stored| stored.origin.as_ref());
        let run =
            RunCheckpoints { directory, folder: CheckpointDirectory::new(directory.checkpoints()), origin };
        let (point, events) = match resume {
            ResumeRequest::From(path) => run.at(path)?,
            // What is at an address has been brought here by now.
            ResumeRequest::Auto | ResumeRequest::FromUrl(_) => run.newest()?,
            ResumeRequest::Never if directory.is_run() => {
                return Err(RunError::Exists { dir: directory.root().to_owned() });
            }
            ResumeRequest::Never => (ResumePoint::Fresh, Vec::new()),
        };
        match (&point, &self.resolved.config.init) {
            (ResumePoint::Fresh, Some(init)) => match continued(self.resolved, init, self.fetched)? {
                Some(path) => run.at(&path),
                None => Ok((
                    ResumePoint::Released(ReleasedWeights::find(
                        self.resolved,
                        init,
                        self.dataset,
                        self.fetched,
                    )?),
                    events,
                )),
            },
            _ => Ok((point, events)),
        }
    }
}

/// What the folder of a run tells of where it stands.
struct RunCheckpoints<'a> {
    directory: &'a RunDirectory,
    folder: CheckpointDirectory,
    origin: Option<&'a BranchOrigin>,
}

impl RunCheckpoints<'_> {
    /// The newest whole checkpoint; without any, where the run branched off, or its beginning.
    fn newest(&self) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let mut found = self.folder.newest_complete()?;
        if let Some(path) = found.newest_complete {
            return Ok((ResumePoint::Own(path), found.damaged.iter().map(damage_event).collect()));
        }
        if !found.damaged.is_empty() {
            let newest = Box::new(found.damaged.swap_remove(0));
            return Err(RunError::NothingWhole { dir: self.folder.path().to_owned(), source: newest });
        }
        self.refuse_lost_checkpoints()?;
        let Some(origin) = self.origin else { return Ok((ResumePoint::Fresh, Vec::new())) };
        if !origin.checkpoint.is_dir() {
            let (dir, origin) = (self.directory.root().to_owned(), origin.checkpoint.clone());
            return Err(RunError::OriginGone { dir, origin });
        }
        fineline_train::verify_checkpoint(&origin.checkpoint)?;
        Ok((ResumePoint::Branch(origin.clone()), Vec::new()))
    }

    /// The checkpoint that `path` means, which may be another run's where this one has none. A branch is given the path that it
    /// began with each time it is started, and goes on from its own checkpoints.
    fn at(&self, path: &Path) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let has_own = !self.folder.steps()?.is_empty();
        if has_own && self.branched_off_at(path) {
            return self.newest();
        }
        let checkpoint = find_checkpoint(path)?;
        let point = if has_own {
            self.refuse_other_runs(&checkpoint)?;
            ResumePoint::Own(checkpoint)
        } else {
            self.refuse_lost_checkpoints()?;
            ResumePoint::Branch(BranchOrigin {
                checkpoint: fs::canonicalize(checkpoint)?,
                given: std::path::absolute(path)?,
            })
        };
        point.path().map_or(Ok(()), fineline_train::verify_checkpoint)?;
        Ok((point, Vec::new()))
    }

    /// Whether `path` leads to where the run branched off, or did then: `latest` may have moved on, and the checkpoint be gone.
    fn branched_off_at(&self, path: &Path) -> bool {
        let Some(origin) = self.origin else { return false };
        let checkpoint = || find_checkpoint(path).ok().and_then(|found| fs::canonicalize(found).ok());
        std::path::absolute(path).is_ok_and(|path| path == origin.given)
            || checkpoint().is_some_and(|found| found == origin.checkpoint)
    }

    /// Refuses to replace what a run has by another run's state.
    fn refuse_other_runs(&self, checkpoint: &Path) -> Result<(), RunError> {
        let own = fs::canonicalize(self.folder.path())?;
        if fs::canonicalize(checkpoint)?.parent() == Some(&own) {
            return Ok(());
        }
        Err(RunError::OtherRunsCheckpoint { path: checkpoint.to_owned() })
    }

    /// Refuses to begin anew where the log tells of a checkpoint: a folder without any has lost them.
    fn refuse_lost_checkpoints(&self) -> Result<(), RunError> {
        let events: Vec<EventRecord> = read_lines(&self.directory.events())?;
        if events.iter().any(|record| matches!(record.event, Event::Checkpoint { .. })) {
            return Err(RunError::CheckpointsGone { dir: self.directory.root().to_owned() });
        }
        Ok(())
    }
}

pub(super) fn refuse_other_rows(path: &Path, config: &RunConfig) -> Result<(), RunError> {
    match stored_config(path)? {
        Some(made_with) => refuse_recounted_rows(&made_with.differences(config), path),
        None => Ok(()),
    }
}

fn damage_event(damage: &TrainError) -> Event {
    let (path, reason) = match damage {
        TrainError::Damaged { path, reason } => (path.clone(), reason.clone()),
        other => (PathBuf::new(), other.to_string()),
    };
    Event::CheckpointDamaged { path, reason }
}
