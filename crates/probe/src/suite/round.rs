//! One round: a suite put to a model once.

use std::collections::BTreeMap;

use fineline_dynamics::Estimate;
use serde::{Deserialize, Serialize};

use crate::items::item_store::ItemRow;
use crate::scorers::generation::answer_writer::WrittenItem;
use crate::scorers::loglikelihood::Scored;
use crate::scorers::representation::{Representation, Represented};
use crate::suite::Provenance;
use crate::tasks::task::Kind;

/// What to ask in a round.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    /// Items per task at most, of those that the suite has: the first of a fixed order, so that those of a smaller number are among
    /// those of a larger. `None` for all.
    pub items: Option<usize>,
    /// Asked before each batch whether to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl Round<'_> {
    /// All items, to the end.
    pub const WHOLE: Self = Self { items: None, interrupted: &|| false };
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
    pub(crate) scored: Vec<Scored>,
    /// What the model wrote, each with the place of its task.
    pub(crate) written: Vec<(usize, WrittenItem)>,
    pub(crate) failures: Vec<TaskFailure>,
    pub(crate) represented: Vec<Represented>,
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

/// How a model did on a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub task: String,
    /// The capability that it belongs to.
    pub domain: String,
    /// The version of wording and data, where its author counts them.
    pub version: Option<String>,
    /// How it is scored.
    pub kind: Kind,
    /// Items asked.
    pub n: usize,
    /// Items that the task has.
    pub total: usize,
    /// Solved examples before each.
    pub shots: usize,
    /// The accuracy of guessing.
    pub chance: Option<f64>,
    /// Each metric with its error bars.
    pub metrics: BTreeMap<String, Estimate>,
    /// The scores of each choice of each item, from which the metrics are computed.
    pub items: Vec<ItemRow>,
    /// What the model makes of the texts, in tasks that look at that: [`RepresentationHistory`](crate::RepresentationHistory) adds the metrics.
    pub representation: Option<Representation>,
    /// Items whose context lost tokens on its left to fit.
    pub truncated: usize,
    /// Choices whose log-likelihood is not finite; depths at which hidden states are not.
    pub not_finite: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}
