//! The result of a task in a round.

use std::collections::BTreeMap;

use fineline_dynamics::Estimate;

use crate::items::item_row::ItemRow;
use crate::scorers::representation::hidden_states::Representation;
use crate::tasks::kind::TaskKind;
use crate::tasks::provenance::Provenance;

/// The result of a task in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub task: String,
    /// The capability that it measures.
    pub domain: String,
    /// Version of the wording and the data, if its author assigns one.
    pub version: Option<String>,
    /// Kind of the task.
    pub kind: TaskKind,
    /// Number of evaluated items.
    pub n: usize,
    /// Number of items of the task.
    pub total: usize,
    /// Number of few-shot examples.
    pub shots: usize,
    /// Accuracy of guessing.
    pub chance: Option<f64>,
    /// Each metric with its error bars.
    pub metrics: BTreeMap<String, Estimate>,
    /// The scores of each choice of each item, from which the metrics are computed.
    pub items: Vec<ItemRow>,
    /// Gram matrices of the hidden states, in representation tasks.
    /// [`RepresentationHistory`](crate::RepresentationHistory) adds the metrics.
    pub representation: Option<Representation>,
    /// Number of items whose context was truncated on the left.
    pub truncated: usize,
    /// Number of choices with a log-likelihood that is not finite, or of depths with hidden states that are
    /// not.
    pub non_finite: usize,
    /// Seconds that the task took.
    pub seconds: f64,
    /// Everything other than the weights that the numbers depend on.
    pub provenance: Provenance,
}
