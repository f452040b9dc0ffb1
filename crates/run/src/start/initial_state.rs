//! The state that training starts from.

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

/// The state that training starts from, and events to log.
pub(crate) struct InitialState {
    point: ResumePoint,
    state: TrainerState,
    events: Vec<Event>,
}

/// State of the trainer.
enum TrainerState {
    /// Weights initialized from the seed.
    Fresh,
    /// Weights only.
    Weights(Box<Llama>),
    /// The whole state of a run.
    Checkpoint(Box<Checkpoint>),
}

impl InitialState {
    /// Loads the verified state that rank 0 chooses for all ranks.
    ///
    /// # Errors
    /// A checkpoint or weights that can't be read or don't match the configuration.
    pub(crate) fn find(
        context: &ResumeContext<'_>,
        division: &Division,
        device: &Device,
        ranks: &dyn Ranks,
    ) -> Result<Self, RunError> {
        let config = &context.resolved.config;
        let (point, mut events) = context.shared_point(ranks)?;
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

    /// Whether the run is resumed from its own checkpoint.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(self.point, ResumePoint::Own(_))
    }

    /// Returns where the run branches off with this start, if it does.
    pub(crate) fn origin(&self) -> Option<&BranchOrigin> {
        match &self.point {
            ResumePoint::Branch(origin) => Some(origin),
            _ => None,
        }
    }

    /// Returns the log lines that the checkpoint carries.
    pub(crate) fn unwritten_logs(&self) -> UnwrittenLogs {
        let TrainerState::Checkpoint(checkpoint) = &self.state else { return UnwrittenLogs::new() };
        let lines = checkpoint.state.observers.get(UNWRITTEN);
        lines.and_then(|lines| serde_json::from_value(lines.clone()).ok()).unwrap_or_default()
    }

    /// Returns the record of the released weights that the run starts from.
    pub(crate) fn init(&self) -> Option<&InitRecord> {
        match &self.point {
            ResumePoint::Released(released) => Some(&released.record),
            _ => None,
        }
    }

    /// Number of steps made so far.
    pub(crate) fn step(&self) -> u64 {
        match &self.state {
            TrainerState::Checkpoint(checkpoint) => checkpoint.state.progress.step,
            _ => self.init().map_or(0, |record| record.step),
        }
    }

    /// Returns the trainer, and the events to log. Everything else of the checkpoint is dropped, because its
    /// tensors would stay in memory beside those that training replaces them with.
    ///
    /// # Errors
    /// A state that doesn't match the configuration.
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

/// Loads a checkpoint with the same numbering of rows as this configuration.
fn load(
    path: &Path,
    config: &RunConfig,
    division: &Division,
    device: &Device,
) -> Result<Checkpoint, RunError> {
    refuse_other_rows(path, config)?;
    Ok(Checkpoint::load(path, &config.model, division, device)?)
}
