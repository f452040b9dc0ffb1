//! Where training begins.

use std::path::Path;

use burn::tensor::Device;
use fineline_model::Llama;
use fineline_ranks::Ranks;
use fineline_train::{Checkpoint, Division, TrainError, Trainer, TrainingRecipe};

use super::resume_point::{ResumeContext, ResumePoint, refuse_other_rows};
use crate::config::{RunConfig, recipe};
use crate::error::RunError;
use crate::records::events::Event;
use crate::records::identity::{BranchOrigin, InitRecord};
use crate::sinks::logs::{UNWRITTEN, UnwrittenLogs};

/// Where training begins, and what is to be said of it.
pub(crate) struct InitialState {
    point: ResumePoint,
    state: TrainerState,
    events: Vec<Event>,
}

/// What a trainer begins with.
enum TrainerState {
    /// Weights drawn from the seed.
    Fresh,
    /// Weights alone.
    Weights(Box<Llama>),
    /// All of a run's state.
    Checkpoint(Box<Checkpoint>),
}

impl InitialState {
    /// Loads what is asked for, verified; nothing for a run that begins. Rank 0 decides for all.
    pub(crate) fn find(
        setting: &ResumeContext<'_>,
        division: &Division,
        device: &Device,
        ranks: &dyn Ranks,
    ) -> Result<Self, RunError> {
        let config = &setting.resolved.config;
        let (point, mut events) = setting.agree(ranks)?;
        let state = match (&point, point.path()) {
            (ResumePoint::Released(released), _) => {
                TrainerState::Weights(Box::new(released.load(config, device)?))
            }
            (_, Some(path)) => TrainerState::Checkpoint(Box::new(load(path, config, division, device)?)),
            (_, None) => TrainerState::Fresh,
        };
        events.push(point.event());
        Ok(Self { point, state, events })
    }

    /// Whether it is the run itself that goes on: then there is something to keep.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.point, ResumePoint::Own(_))
    }

    /// Where the run branches off with this start.
    pub(crate) fn origin(&self) -> Option<&BranchOrigin> {
        match &self.point {
            ResumePoint::Branch(origin) => Some(origin),
            _ => None,
        }
    }

    /// Lines of the logs that could not be written when the checkpoint was taken.
    pub(crate) fn unwritten_logs(&self) -> UnwrittenLogs {
        let TrainerState::Checkpoint(checkpoint) = &self.state else { return UnwrittenLogs::new() };
        let lines = checkpoint.state.observers.get(UNWRITTEN);
        lines.and_then(|lines| serde_json::from_value(lines.clone()).ok()).unwrap_or_default()
    }

    /// The released weights that the run begins with.
    pub(crate) fn init(&self) -> Option<&InitRecord> {
        match &self.point {
            ResumePoint::Released(released) => Some(&released.record),
            _ => None,
        }
    }

    /// Steps done.
    pub(crate) fn step(&self) -> u64 {
        match &self.state {
            TrainerState::Checkpoint(checkpoint) => checkpoint.state.progress.step,
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
        let recipe = TrainingRecipe { rewarm, ..recipe(config) };
        let trainer = match self.state {
            TrainerState::Fresh => Trainer::new(recipe, config.model.init(config.run.seed, device)),
            TrainerState::Weights(model) => Trainer::from_weights(recipe, *model, progress),
            TrainerState::Checkpoint(checkpoint) => checkpoint.into_trainer(recipe),
        }?;
        Ok((trainer, self.events))
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
