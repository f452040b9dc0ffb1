//! The choice of the state to start from.

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

/// Everything that the choice depends on.
#[derive(Clone, Copy)]
pub(crate) struct ResumeContext<'a> {
    /// The configuration.
    pub(crate) resolved: &'a Resolved,
    /// Directory of the run.
    pub(crate) directory: &'a RunDirectory,
    /// Identity of the run in the directory, if there is one.
    pub(crate) stored: Option<&'a RunIdentity>,
    /// The rows, which determine where a chunk ends.
    pub(crate) dataset: &'a Dataset,
    /// The state that the caller requests.
    pub(crate) resume: &'a ResumeRequest,
    /// The downloaded model, if `init.from` names one of the hub.
    pub(crate) fetched: Option<&'a FetchedWeights>,
}

/// The step that training would start from.
pub(crate) struct PlannedStart {
    /// Number of steps made so far.
    pub(crate) step: u64,
    /// Whether the run is resumed from its own checkpoint.
    pub(crate) is_resumed: bool,
    /// Events to log.
    pub(crate) events: Vec<Event>,
}

/// The state to start from.
pub(super) enum ResumePoint {
    /// Step 0, with initialized weights.
    Fresh,
    /// Released weights.
    Released(ReleasedWeights),
    /// A checkpoint of another run. This run has none of its own yet.
    Branch(BranchOrigin),
    /// A checkpoint of this run.
    Own(PathBuf),
}

/// The choice, as rank 0 broadcasts it.
#[derive(Serialize, Deserialize)]
enum SharedResumePoint {
    /// Step 0 or released weights, as the configuration states.
    Local,
    Branch(BranchOrigin),
    Own(PathBuf),
}

impl ResumePoint {
    fn to_shared(&self) -> SharedResumePoint {
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
    /// Returns the step that training would start from. Nothing is loaded.
    ///
    /// # Errors
    /// As of a start.
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
        Ok(PlannedStart { step, is_resumed: matches!(point, ResumePoint::Own(_)), events })
    }

    /// Returns the choice of rank 0 on all ranks. Other ranks only look for themselves if the choice doesn't
    /// depend on the directory.
    ///
    /// # Errors
    /// As of [`point`](Self::point).
    pub(super) fn shared_point(&self, ranks: &dyn Ranks) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let own = if ranks.is_first() { Some(self.point()?) } else { None };
        let choice = ranks.broadcast(own.as_ref().map(|(point, _)| point.to_shared()));
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

    /// Chooses the state to start from, before anything is loaded, and returns the events to log.
    ///
    /// # Errors
    /// [`RunError::Exists`] if there is a run that must not be resumed. A checkpoint that is missing,
    /// damaged, or of another run.
    fn point(&self) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let Self { directory, resume, .. } = self;
        let origin = self.stored.and_then(|stored| stored.origin.as_ref());
        let run =
            RunCheckpoints { directory, dir: CheckpointDirectory::new(directory.checkpoints()), origin };
        let (point, events) = match resume {
            ResumeRequest::From(path) => run.at(path)?,
            // A run at an address has been downloaded already.
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

/// The checkpoints of a run.
struct RunCheckpoints<'a> {
    directory: &'a RunDirectory,
    dir: CheckpointDirectory,
    origin: Option<&'a BranchOrigin>,
}

impl RunCheckpoints<'_> {
    /// Returns the newest complete checkpoint. Without one, where the run branched off, or step 0.
    fn newest(&self) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let mut found = self.dir.newest_complete()?;
        if let Some(path) = found.newest_complete {
            return Ok((ResumePoint::Own(path), found.damaged.iter().map(damage_event).collect()));
        }
        if !found.damaged.is_empty() {
            let newest = Box::new(found.damaged.swap_remove(0));
            return Err(RunError::NoCompleteCheckpoint { dir: self.dir.path().to_owned(), source: newest });
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

    /// Returns the checkpoint that `path` refers to, which may be of another run if this one has none. A
    /// branch is started with the same path each time, and resumes from its own checkpoints.
    fn at(&self, path: &Path) -> Result<(ResumePoint, Vec<Event>), RunError> {
        let has_own = !self.dir.steps()?.is_empty();
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

    /// Whether `path` is where the run branched off. `latest` may name another checkpoint by now, and the
    /// checkpoint may be gone.
    fn branched_off_at(&self, path: &Path) -> bool {
        let Some(origin) = self.origin else { return false };
        let checkpoint = || find_checkpoint(path).ok().and_then(|found| fs::canonicalize(found).ok());
        std::path::absolute(path).is_ok_and(|path| path == origin.given)
            || checkpoint().is_some_and(|found| found == origin.checkpoint)
    }

    /// Refuses to replace the state of a run by that of another.
    fn refuse_other_runs(&self, checkpoint: &Path) -> Result<(), RunError> {
        let own = fs::canonicalize(self.dir.path())?;
        if fs::canonicalize(checkpoint)?.parent() == Some(&own) {
            return Ok(());
        }
        Err(RunError::OtherRunsCheckpoint { path: checkpoint.to_owned() })
    }

    /// Refuses to restart if the log mentions a checkpoint, because then checkpoints are lost.
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
