//! One round: a suite put to a model once.

use serde::{Deserialize, Serialize};

use crate::results::task_result::TaskResult;
use crate::scorers::generation::answer_writer::WrittenItem;
use crate::scorers::loglikelihood::ScoredRequest;
use crate::scorers::representation::hidden_states::ScoredRepresentation;

/// What to ask in a round.
#[derive(Clone, Copy)]
pub struct EvaluationRound<'a> {
    /// Items per task at most, of those that the suite has: the first of a fixed order, so that those of a smaller number are among
    /// those of a larger. `None` for all.
    pub limit: Option<usize>,
    /// Asked before each batch whether to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl EvaluationRound<'_> {
    /// All items, to the end.
    pub const WHOLE: Self = Self { limit: None, interrupted: &|| false };
}

/// What a round has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundResults {
    /// The tasks, in the order of the suite.
    pub results: Vec<TaskResult>,
    /// Those that could not be asked.
    pub failures: Vec<TaskFailure>,
}

/// A task that could not be asked in a round, though the suite as such is sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// The task.
    pub task: String,
    /// What went wrong.
    pub message: String,
}

/// What one process has scored of a round: to be gathered where there are several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundScores {
    /// The scored requests, each with the index of its task.
    pub(crate) scored: Vec<(usize, ScoredRequest)>,
    /// What the model wrote, each with the place of its task.
    pub(crate) written: Vec<(usize, WrittenItem)>,
    pub(crate) failures: Vec<TaskFailure>,
    pub(crate) represented: Vec<ScoredRepresentation>,
}

impl RoundScores {
    /// Adds what another process has scored.
    pub fn merge(&mut self, other: Self) {
        self.scored.extend(other.scored);
        self.written.extend(other.written);
        self.failures.extend(other.failures);
        self.represented.extend(other.represented);
    }
}
