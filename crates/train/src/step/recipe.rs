//! Everything that decides what a step does to the weights.

use fineline_kernels::Precision;

use crate::error::TrainError;
use crate::guard::GuardConfig;
use crate::optim::OptimConfig;
use crate::schedule::{LrSchedule, Rewarm, ScheduleConfig};
use crate::train_config::TrainConfig;

/// Everything that decides what a step does to the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRecipe {
    /// The update rule.
    pub optim: OptimConfig,
    /// The learning rate of each step.
    pub schedule: ScheduleConfig,
    /// Length, batch and loss.
    pub train: TrainConfig,
    /// What is done about steps that go wrong.
    pub guard: GuardConfig,
    /// `data.seq_len`: tokens of a row that the model reads.
    pub seq_len: usize,
    /// `data.document_mask`: whether a token attends only to its own document.
    pub document_mask: bool,
    /// `model.pad_token_id`: the row of the embedding that no gradient reaches, as with the `padding_idx` of `torch.nn.Embedding`.
    pub frozen_row: Option<usize>,
    /// A second warm-up, where training starts from weights without moments.
    pub rewarm: Option<Rewarm>,
    /// `run.precision`: what the model's products are computed in.
    pub precision: Precision,
}

impl TrainingRecipe {
    /// Checks ranges and how the sections fit together, and resolves the schedule.
    pub fn validate(&self) -> Result<LrSchedule, TrainError> {
        self.optim.validate()?;
        self.guard.validate()?;
        let schedule = LrSchedule::new(&self.schedule, self.optim.lr, self.train.total_steps(self.seq_len)?)?;
        Ok(schedule.with_rewarm(self.rewarm))
    }
}
