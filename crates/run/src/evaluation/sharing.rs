//! Validation and probes on all ranks: each measures its share, and rank 0 has what all have found.
//!
//! Rank 0 alone knows what is to be measured at a step; it [says so](EvaluationRequest) at every start and after every step. The others have a
//! [`EvaluationWorker`] in the place of rank 0's observer. Batches are dealt out, and a batch has the same scores whoever takes it: what is found
//! doesn't depend on the number of ranks.

use fineline_probe::Suite;
use fineline_ranks::Ranks;
use fineline_train::{Observer, ObserverError, StepReport, StepView, TrainerControl};
use serde::{Deserialize, Serialize};

use super::measuring::Evaluator;
use super::validation::Validation;
use crate::error::RunError;

/// What all ranks are to measure at a step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EvaluationRequest {
    /// Whether to validate.
    pub(crate) validates: bool,
    /// The suites that are asked, by their places, and the items per task at most.
    pub(crate) asked: Vec<(usize, Option<usize>)>,
}

impl EvaluationRequest {
    pub(crate) fn is_empty(&self) -> bool {
        !self.validates && self.asked.is_empty()
    }

    /// Tells the other ranks. They wait for it at every start and after every step.
    pub(crate) fn give(&self, ranks: &dyn Ranks) {
        if ranks.size() > 1 {
            ranks.broadcast(Some(self.clone()));
        }
    }
}

/// What a rank other than the first does at a step besides training: its share of what is measured.
pub(crate) struct EvaluationWorker<'a> {
    pub(crate) validation: Validation<'a>,
    pub(crate) suites: &'a [Suite],
    pub(crate) ranks: &'a dyn Ranks,
}

impl EvaluationWorker<'_> {
    fn help(&self, view: &StepView<'_>) -> Result<TrainerControl, RunError> {
        let order: EvaluationRequest = self.ranks.broadcast(None);
        if order.is_empty() {
            return Ok(TrainerControl::Continue);
        }
        let model = view.model.valid();
        let interrupted = || view.stop.requested().is_some();
        let measuring = Evaluator { model: &model, interrupted: &interrupted, ranks: self.ranks };
        match self.follow(&order, &measuring) {
            Err(RunError::Interrupted(_)) => Ok(TrainerControl::Continue),
            done => done.map(|()| TrainerControl::Continue),
        }
    }

    fn follow(&self, order: &EvaluationRequest, measuring: &Evaluator<'_>) -> Result<(), RunError> {
        if order.validates {
            self.validation.score(measuring)?;
        }
        for &(place, items) in &order.asked {
            measuring.score(&self.suites[place], items)?;
        }
        Ok(())
    }
}

impl Observer for EvaluationWorker<'_> {
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.help(view)?)
    }

    fn on_step(&mut self, _: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.help(view)?)
    }
}
