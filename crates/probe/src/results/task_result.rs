//! The result of a task in a round.

use std::collections::BTreeMap;

use fineline_dynamics::Estimate;

use crate::items::item_row::ItemRow;
use crate::scorers::representation::hidden_states::Representation;
use crate::tasks::kind::TaskKind;
use crate::tasks::provenance::Provenance;

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
    pub kind: TaskKind,
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
    pub non_finite: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}
