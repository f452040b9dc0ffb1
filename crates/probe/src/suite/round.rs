//! One round: the evaluation of a model on a suite.

use serde::{Deserialize, Serialize};

use crate::results::task_result::TaskResult;
use crate::scorers::generation::answer_writer::WrittenItem;
use crate::scorers::loglikelihood::ScoredRequest;
use crate::scorers::representation::hidden_states::ScoredRepresentation;

/// Parameters of a round.
#[derive(Clone, Copy)]
pub struct EvaluationRound<'a> {
    /// Maximum number of items per task, `None` for all. The items are the first of a fixed order, so that a
    /// smaller limit selects a subset of a larger one.
    pub limit: Option<usize>,
    /// Called before each batch. Returns whether to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl EvaluationRound<'_> {
    /// All items, without interruption.
    pub const WHOLE: Self = Self { limit: None, interrupted: &|| false };
}

/// The results of a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundResults {
    /// Results of the tasks, in the order of the suite.
    pub results: Vec<TaskResult>,
    /// Tasks that could not be evaluated.
    pub failures: Vec<TaskFailure>,
}

/// A task that could not be evaluated in a round although the suite is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// The task.
    pub task: String,
    /// Description of the error.
    pub message: String,
}

/// The scores of one rank in a round, to be gathered from all ranks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundScores {
    /// The scored requests, each with the index of its task.
    pub(crate) scored: Vec<(usize, ScoredRequest)>,
    /// The generated answers, each with the index of its task.
    pub(crate) written: Vec<(usize, WrittenItem)>,
    pub(crate) failures: Vec<TaskFailure>,
    pub(crate) represented: Vec<ScoredRepresentation>,
}

impl RoundScores {
    /// Adds the scores of another rank.
    pub fn merge(&mut self, other: Self) {
        self.scored.extend(other.scored);
        self.written.extend(other.written);
        self.failures.extend(other.failures);
        self.represented.extend(other.represented);
    }
}
