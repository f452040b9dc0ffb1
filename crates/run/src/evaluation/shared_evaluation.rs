//! One evaluation round: validation and suites at a step, on all ranks.

use std::time::Instant;

use fineline_probe::{Suite, TaskFailure, TaskResult};
use fineline_ranks::Ranks;
use fineline_train::{Observer, ObserverError, StepReport, StepView, TrainerControl};
use serde::{Deserialize, Serialize};

use super::evaluator::Evaluator;
use super::validation::Validation;
use crate::error::RunError;

/// The part of an evaluation round that rank 0 decides for all ranks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EvaluationRequest {
    /// Whether to run validation.
    pub(crate) validate: bool,
    /// Suites to evaluate, in this order.
    pub(crate) suites: Vec<SuiteRequest>,
}

/// A suite to evaluate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SuiteRequest {
    /// Index of its table in `[[probes]]`.
    pub(crate) table: usize,
    /// Maximum number of items per task. `None` for all.
    pub(crate) limit: Option<usize>,
}

impl EvaluationRequest {
    fn is_empty(&self) -> bool {
        !self.validate && self.suites.is_empty()
    }
}

/// Results of a round. They exist on rank 0 only.
#[derive(Default)]
pub(crate) struct EvaluationResults {
    /// Results of all tasks: those of validation first, then those of the suites.
    pub(crate) tasks: Vec<TaskResult>,
    /// Seconds that validation took.
    pub(crate) validation_s: f64,
    /// The suites that were evaluated.
    pub(crate) suites: Vec<SuiteOutcome>,
}

/// How the evaluation of a suite went.
pub(crate) struct SuiteOutcome {
    /// The request.
    pub(crate) request: SuiteRequest,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// Names of the tasks that have a result.
    pub(crate) tasks: Vec<String>,
    /// Tasks that couldn't be evaluated.
    pub(crate) failures: Vec<TaskFailure>,
}

impl EvaluationResults {
    /// Returns the results of a suite's tasks.
    pub(crate) fn of_suite<'a>(&'a self, suite: &'a SuiteOutcome) -> impl Iterator<Item = &'a TaskResult> {
        self.tasks.iter().filter(|result| suite.tasks.contains(&result.task))
    }
}

/// Evaluation that all ranks take part in.
pub(crate) struct SharedEvaluation<'a> {
    pub(crate) validation: Validation<'a>,
    /// The suites of `[[probes]]`, in their order.
    pub(crate) suites: &'a [Suite],
    pub(crate) ranks: &'a dyn Ranks,
}

impl SharedEvaluation<'_> {
    /// Evaluates the model on all ranks. All ranks call this at the same steps, and make the same collectives
    /// in the same order. Rank 0 passes the request and gets the results. Other ranks pass `None`, get the
    /// request by broadcast, and return empty results. `on_suite` is called with the name of each suite
    /// before its evaluation.
    ///
    /// Returns `None` if a stop of a rank was requested. The round then leaves no trace.
    ///
    /// # Errors
    /// A validation or suite that can't be evaluated.
    pub(crate) fn evaluate(
        &self,
        request: Option<EvaluationRequest>,
        view: &StepView<'_>,
        on_suite: &mut dyn FnMut(&str),
    ) -> Result<Option<EvaluationResults>, RunError> {
        let request = self.ranks.broadcast(request);
        if request.is_empty() {
            return Ok(Some(EvaluationResults::default()));
        }
        let model = view.model.valid();
        let interrupted = || view.stop.requested().is_some();
        let evaluator = Evaluator { model: &model, interrupted: &interrupted, ranks: self.ranks };
        match self.run(request, &evaluator, on_suite) {
            Err(RunError::Interrupted(_)) => Ok(None),
            results => results.map(Some),
        }
    }

    fn run(
        &self,
        request: EvaluationRequest,
        evaluator: &Evaluator<'_>,
        on_suite: &mut dyn FnMut(&str),
    ) -> Result<EvaluationResults, RunError> {
        let mut results = EvaluationResults::default();
        if request.validate {
            results.tasks = self.validation.evaluate(evaluator)?;
            results.validation_s = results.tasks.iter().map(|result| result.seconds).sum();
        }
        for request in request.suites {
            let suite = &self.suites[request.table];
            on_suite(suite.name());
            let start = Instant::now();
            let Some(round) = evaluator.evaluate_suite(suite, request.limit)? else { continue };
            results.suites.push(SuiteOutcome {
                request,
                seconds: start.elapsed().as_secs_f64(),
                tasks: round.results.iter().map(|result| result.task.clone()).collect(),
                failures: round.failures,
            });
            results.tasks.extend(round.results);
        }
        Ok(results)
    }
}

/// Takes part in evaluation rounds on the ranks other than 0.
pub(crate) struct EvaluationWorker<'a>(pub(crate) SharedEvaluation<'a>);

impl EvaluationWorker<'_> {
    fn take_part(&self, view: &StepView<'_>) -> Result<TrainerControl, RunError> {
        self.0.evaluate(None, view, &mut |_| ())?;
        Ok(TrainerControl::Continue)
    }
}

impl Observer for EvaluationWorker<'_> {
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.take_part(view)?)
    }

    fn on_step(&mut self, _: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.take_part(view)?)
    }
}
