//! The settings that determine the updates of a run.

use fineline_kernels::Precision;

use crate::error::TrainError;
use crate::guard::GuardConfig;
use crate::optim::OptimConfig;
use crate::schedule::{LrSchedule, Rewarm, ScheduleConfig};
use crate::train_config::TrainConfig;

/// The settings that determine how each step changes the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRecipe {
    /// The update rule.
    pub optim: OptimConfig,
    /// The learning rate of each step.
    pub schedule: ScheduleConfig,
    /// Length of the run, batch sizes and loss.
    pub train: TrainConfig,
    /// Reactions to steps that go wrong.
    pub guard: GuardConfig,
    /// `data.seq_len`: number of input tokens per row.
    pub seq_len: usize,
    /// `data.document_mask`: whether a token attends only to its own document.
    pub document_mask: bool,
    /// `model.pad_token_id`: the row of the embedding without gradient, as `padding_idx` of
    /// `torch.nn.Embedding`.
    pub frozen_row: Option<usize>,
    /// A second warm-up, if training starts from weights without optimizer state.
    pub rewarm: Option<Rewarm>,
    /// `run.precision`: the precision of the model's matmuls.
    pub precision: Precision,
}

impl TrainingRecipe {
    /// Checks the sections and their consistency, and resolves the schedule.
    ///
    /// # Errors
    /// [`TrainError::Config`] with the first key whose value is not allowed.
    pub fn validate(&self) -> Result<LrSchedule, TrainError> {
        self.optim.validate()?;
        self.guard.validate()?;
        let schedule = LrSchedule::new(&self.schedule, self.optim.lr, self.train.total_steps(self.seq_len)?)?;
        Ok(schedule.with_rewarm(self.rewarm))
    }
}
