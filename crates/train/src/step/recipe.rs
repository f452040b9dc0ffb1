//! The settings that determine the updates of a run.

use fineline_diagnostics::{Checker, ConfigSection};
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
    /// Checks all sections and resolves the schedule.
    ///
    /// # Errors
    /// [`TrainError::Config`] with all values that are out of range or contradict each other.
    pub fn validate(&self) -> Result<LrSchedule, TrainError> {
        ConfigSection::validate(self, "")?;
        let schedule = LrSchedule::new(&self.schedule, self.optim.lr, self.train.total_steps(self.seq_len)?)?;
        Ok(schedule.with_rewarm(self.rewarm))
    }

    /// Checks the sections against each other. Each must be valid by itself.
    pub fn check_combination(&self, checker: &mut Checker<'_>) {
        match self.train.total_steps(self.seq_len) {
            Ok(steps) => self.schedule.check_phases(self.optim.lr, steps, &mut checker.nested("schedule")),
            Err(TrainError::Config(problems)) => {
                for problem in problems {
                    checker.push(problem);
                }
            }
            Err(_) => {}
        }
    }

    fn sections(&self) -> [(&'static str, &dyn ConfigSection); 4] {
        [("optim", &self.optim), ("schedule", &self.schedule), ("train", &self.train), ("guard", &self.guard)]
    }
}

impl ConfigSection for TrainingRecipe {
    fn check(&self, checker: &mut Checker<'_>) {
        for (name, section) in self.sections() {
            section.check(&mut checker.nested(name));
        }
        if self.sections().into_iter().all(|(name, section)| section.validate(name).is_ok()) {
            self.check_combination(checker);
        }
    }
}
