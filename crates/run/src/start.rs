//! Where training begins.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fineline_data::Dataset;
use fineline_model::Llama;
use fineline_ranks::Ranks;
use fineline_train::{Checkpoint, CheckpointFolder, CheckpointState, Division, Recipe, TrainError, Trainer};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::RunError;
use crate::changes::refuse_recounted_rows;
use crate::checkpoint::{find_checkpoint, stored_config};
use crate::config::{Resolved, RunConfig};
use crate::directory::{Origin, RunDirectory, RunIdentity};
use crate::events::{Event, EventRecord};
use crate::jsonl::read_lines;
use crate::lifecycle::{Resume, recipe};
use crate::logs::UnwrittenLogs;
use crate::observer::UNWRITTEN;
use crate::released::{FetchedWeights, InitRecord, Released, continued};

/// Where training begins, and what is to be said of it.
pub(crate) struct Start {
    point: Point,
    state: State,
    events: Vec<Event>,
}

/// What a trainer begins with.
enum State {
    /// Weights drawn from the seed.
    Fresh,
    /// Weights alone.
    Weights(Box<Llama>),
    /// All of a run's state.
    Checkpoint(Box<Checkpoint>),
}

/// What decides where training begins.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The configuration.
    pub(crate) resolved: &'a Resolved,
    /// The run's folder.
    pub(crate) directory: &'a RunDirectory,
    /// What the folder tells of the run that is in it.
    pub(crate) stored: Option<&'a RunIdentity>,
    /// The rows, which tell where a chunk ends.
    pub(crate) dataset: &'a Dataset,
    /// What the caller asks for.
    pub(crate) resume: &'a Resume,
    /// What `init.from` stands for, if that is a model of the hub and has been fetched.
    pub(crate) fetched: Option<&'a FetchedWeights>,
}

/// Where training would begin.
pub(crate) struct Begin {
    /// Steps done by then.
    pub(crate) step: u64,
    /// Whether it is the run itself that goes on.
    pub(crate) goes_on: bool,
    /// What is to be said of it.
    pub(crate) events: Vec<Event>,
}

/// What there is to go on from.
enum Point {
    /// Nothing: step 0.
    Beginning,
    /// Weights that somebody released.
    Released(Released),
    /// Another run's checkpoint: the run has none of its own yet.
    Branch(Origin),
    /// A checkpoint of the run itself.
    Own(PathBuf),
}

/// A point as rank 0 tells the others of it.
#[derive(Serialize, Deserialize)]
enum Choice {
    /// The beginning, or released weights: the configuration says which.
    OwnLook,
    Branch(Origin),
    Own(PathBuf),
}

impl Point {
    fn choice(&self) -> Choice {
        match self {
            Self::Beginning | Self::Released(_) => Choice::OwnLook,
            Self::Branch(origin) => Choice::Branch(origin.clone()),
            Self::Own(path) => Choice::Own(path.clone()),
        }
    }

    fn event(&self) -> Event {
        match self {
            Self::Released(released) => Event::Initialized { init: Box::new(released.record.clone()) },
            Self::Beginning => Event::Started,
            Self::Branch(origin) => Event::Resumed { checkpoint: origin.checkpoint.clone() },
            Self::Own(path) => Event::Resumed { checkpoint: path.clone() },
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Beginning | Self::Released(_) => None,
            Self::Branch(origin) => Some(&origin.checkpoint),
            Self::Own(path) => Some(path),
        }
    }
}

impl Start {
    /// Loads what is asked for, verified; nothing for a run that begins. Rank 0 decides for all.
    pub(crate) fn find(
        setting: &Setting<'_>,
        division: &Division,
        device: &Device,
        ranks: &dyn Ranks,
    ) -> Result<Self, RunError> {
        let config = &setting.resolved.config;
        let (point, mut events) = setting.common_point(ranks)?;
        let state = match (&point, point.path()) {
            (Point::Released(released), _) => State::Weights(Box::new(released.load(config, device)?)),
            (_, Some(path)) => State::Checkpoint(Box::new(load(path, config, division, device)?)),
            (_, None) => State::Fresh,
        };
        events.push(point.event());
        Ok(Self { point, state, events })
    }

    /// Whether it is the run itself that goes on: then there is something to keep.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.point, Point::Own(_))
    }

    /// Where the run branches off with this start.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        match &self.point {
            Point::Branch(origin) => Some(origin),
            _ => None,
        }
    }

    /// Lines of the logs that could not be written when the checkpoint was taken.
    pub(crate) fn unwritten_logs(&self) -> UnwrittenLogs {
        let State::Checkpoint(checkpoint) = &self.state else { return UnwrittenLogs::new() };
        let lines = checkpoint.state.observers.get(UNWRITTEN);
        lines.and_then(|lines| serde_json::from_value(lines.clone()).ok()).unwrap_or_default()
    }

    /// The released weights that the run begins with.
    pub(crate) fn init(&self) -> Option<&InitRecord> {
        match &self.point {
            Point::Released(released) => Some(&released.record),
            _ => None,
        }
    }

    /// Steps done.
    pub(crate) fn step(&self) -> u64 {
        match &self.state {
            State::Checkpoint(checkpoint) => checkpoint.state.progress.step,
            _ => self.init().map_or(0, |record| record.step),
        }
    }

    /// The trainer at that point, and what is to be logged. Nothing of the checkpoint is kept besides: its tensors would stay in
    /// memory beside those that training replaces them with.
    pub(crate) fn into_trainer(
        self,
        config: &RunConfig,
        device: &Device,
    ) -> Result<(Trainer, Vec<Event>), TrainError> {
        let progress = self.init().map(InitRecord::progress).unwrap_or_default();
        let rewarm = self.init().and_then(InitRecord::rewarm);
        let recipe = Recipe { rewarm, ..recipe(config) };
        let trainer = match self.state {
            State::Fresh => Trainer::new(recipe, config.model.init(config.run.seed, device)),
            State::Weights(model) => Trainer::from_weights(recipe, *model, progress),
            State::Checkpoint(checkpoint) => checkpoint.into_trainer(recipe),
        }?;
        Ok((trainer, self.events))
    }
}

impl Setting<'_> {
    /// Where training would begin. Nothing is loaded.
    pub(crate) fn outlook(&self) -> Result<Begin, RunError> {
        let (point, mut events) = self.point()?;
        let step = match (&point, point.path()) {
            (Point::Released(released), _) => released.record.step,
            (_, Some(path)) => {
                let config = &self.resolved.config;
                refuse_other_rows(path, config)?;
                fineline_train::refuse_other_model(path, &config.model)?;
                CheckpointState::read(path)?.progress.step
            }
            (_, None) => 0,
        };
        events.push(point.event());
        Ok(Begin { step, goes_on: matches!(point, Point::Own(_)), events })
    }

    /// The point that rank 0 finds. The others look for themselves only where nothing depends on what is in the folder.
    fn common_point(&self, ranks: &dyn Ranks) -> Result<(Point, Vec<Event>), RunError> {
        let own = if ranks.is_first() { Some(self.point()?) } else { None };
        let choice = ranks.broadcast(own.as_ref().map(|(point, _)| point.choice()));
        match own {
            Some(found) => Ok(found),
            None => self.follow(choice),
        }
    }

    fn follow(&self, choice: Choice) -> Result<(Point, Vec<Event>), RunError> {
        let point = match choice {
            Choice::OwnLook => return self.point(),
            Choice::Branch(origin) => Point::Branch(origin),
            Choice::Own(path) => Point::Own(path),
        };
        Ok((point, Vec::new()))
    }

    /// Where training begins, before anything is loaded, and what is to be said of it.
    fn point(&self) -> Result<(Point, Vec<Event>), RunError> {
        let Self { directory, resume, .. } = self;
        let origin = self.stored.and_then(|stored| stored.origin.as_ref());
        let run = Run { directory, folder: CheckpointFolder::new(directory.checkpoints()), origin };
        let (point, events) = match resume {
            Resume::From(path) => run.at(path)?,
            // What is at an address has been brought here by now.
            Resume::Auto | Resume::FromUrl(_) => run.newest()?,
            Resume::Never if directory.is_run() => {
                return Err(RunError::Exists { dir: directory.root().to_owned() });
            }
            Resume::Never => (Point::Beginning, Vec::new()),
        };
        match (&point, &self.resolved.config.init) {
            (Point::Beginning, Some(init)) => match continued(self.resolved, init, self.fetched)? {
                Some(path) => run.at(&path),
                None => Ok((
                    Point::Released(Released::find(self.resolved, init, self.dataset, self.fetched)?),
                    events,
                )),
            },
            _ => Ok((point, events)),
        }
    }
}

/// What the folder of a run tells of where it stands.
struct Run<'a> {
    directory: &'a RunDirectory,
    folder: CheckpointFolder,
    origin: Option<&'a Origin>,
}

impl Run<'_> {
    /// The newest whole checkpoint; without any, where the run branched off, or its beginning.
    fn newest(&self) -> Result<(Point, Vec<Event>), RunError> {
        let mut found = self.folder.newest_whole()?;
        if let Some(path) = found.newest_whole {
            return Ok((Point::Own(path), found.damaged.iter().map(damage_event).collect()));
        }
        if !found.damaged.is_empty() {
            let newest = Box::new(found.damaged.swap_remove(0));
            return Err(RunError::NothingWhole { dir: self.folder.path().to_owned(), source: newest });
        }
        self.refuse_lost_checkpoints()?;
        let Some(origin) = self.origin else { return Ok((Point::Beginning, Vec::new())) };
        if !origin.checkpoint.is_dir() {
            let (dir, origin) = (self.directory.root().to_owned(), origin.checkpoint.clone());
            return Err(RunError::OriginGone { dir, origin });
        }
        fineline_train::verify(&origin.checkpoint)?;
        Ok((Point::Branch(origin.clone()), Vec::new()))
    }

    /// The checkpoint that `path` means, which may be another run's where this one has none. A branch is given the path that it
    /// began with each time it is started, and goes on from its own checkpoints.
    fn at(&self, path: &Path) -> Result<(Point, Vec<Event>), RunError> {
        let has_own = !self.folder.steps()?.is_empty();
        if has_own && self.branched_off_at(path) {
            return self.newest();
        }
        let checkpoint = find_checkpoint(path)?;
        let point = if has_own {
            self.refuse_other_runs(&checkpoint)?;
            Point::Own(checkpoint)
        } else {
            self.refuse_lost_checkpoints()?;
            Point::Branch(Origin {
                checkpoint: fs::canonicalize(checkpoint)?,
                given: std::path::absolute(path)?,
            })
        };
        point.path().map_or(Ok(()), fineline_train::verify)?;
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

/// Loads a checkpoint whose rows this configuration counts as the checkpoint's own did.
fn load(
    path: &Path,
    config: &RunConfig,
    division: &Division,
    device: &Device,
) -> Result<Checkpoint, RunError> {
    refuse_other_rows(path, config)?;
    Ok(Checkpoint::load(path, &config.model, division, device)?)
}

fn refuse_other_rows(path: &Path, config: &RunConfig) -> Result<(), RunError> {
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
    Event::DamagedCheckpoint { path, reason }
}
