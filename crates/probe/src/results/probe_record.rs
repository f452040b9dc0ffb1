//! A line of `probes.jsonl`.

use std::collections::BTreeMap;

use fineline_dynamics::{Estimate, PairedDifference, Phase};
use serde::{Deserialize, Serialize};

use crate::results::group_result::GroupResult;
use crate::results::task_result::TaskResult;
use crate::tasks::kind::TaskKind;
use crate::tasks::provenance::Provenance;

/// A line of `probes.jsonl`: one task, or one group of tasks, at one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Number of steps before the round.
    pub step: u64,
    /// Number of tokens trained on before the round.
    pub tokens: u64,
    /// The task or group.
    pub task: String,
    /// The capability that it measures.
    pub domain: String,
    /// Kind of the task. Null for a group.
    pub kind: Option<TaskKind>,
    /// The tasks of a group. Absent for a task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Number of evaluated items.
    pub n: usize,
    /// Number of few-shot examples. Null if the tasks of a group differ.
    pub shots: Option<usize>,
    /// Chance level of the primary metric, if it has one.
    pub chance: Option<f64>,
    /// Name of the metric that represents the task. `delta`, `best` and `min_detectable_effect` refer to it.
    pub primary_metric: String,
    /// Each metric with its standard error and 95 % interval.
    pub metrics: BTreeMap<String, Estimate>,
    /// Change since the task's previous round. Null in the first.
    pub delta: Option<Delta>,
    /// Change since the best of all earlier rounds. Null in the first.
    pub best: Option<Delta>,
    /// Minimum detectable effect of the primary metric: the smallest true change that a test at the 5 % level
    /// detects with a power of 80 %. Computed from the spread of the changes since the previous round. In a
    /// first round, or if no item changed, from the standard error of the metric, as if the next round had
    /// other items.
    pub min_detectable_effect: Option<f64>,
    /// Phase of the learning curve. Null while it is undetermined.
    pub phase: Option<Phase>,
    /// Number of items whose context was truncated on the left.
    pub truncated: usize,
    /// Number of choices with a log-likelihood that is not finite. If there are any, the metrics that need
    /// them are null.
    pub non_finite: usize,
    /// Seconds that the task took.
    pub seconds: f64,
    /// Everything other than the weights that the numbers depend on.
    pub provenance: Provenance,
}

impl ProbeRecord {
    /// Prefix of the names of validation splits.
    pub const VALIDATION: &str = "validation/";

    /// Whether this is the measurement of a validation split and not a task of a suite.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        self.task.starts_with(Self::VALIDATION)
    }

    /// Whether this aggregates several tasks, which have their own records.
    #[must_use]
    pub fn is_group(&self) -> bool {
        !self.members.is_empty()
    }

    /// The tasks whose items the record covers.
    pub(crate) fn tasks(&self) -> &[String] {
        if self.is_group() { &self.members } else { std::slice::from_ref(&self.task) }
    }

    /// The record of a task, without comparisons to earlier rounds.
    pub(crate) fn of_task(step: u64, tokens: u64, result: &TaskResult) -> Self {
        Self {
            step,
            tokens,
            task: result.task.clone(),
            domain: result.domain.clone(),
            kind: Some(result.kind),
            n: result.n,
            shots: Some(result.shots),
            chance: result.chance,
            primary_metric: result.kind.primary_metric().to_owned(),
            metrics: result.metrics.clone(),
            truncated: result.truncated,
            non_finite: result.non_finite,
            seconds: result.seconds,
            provenance: result.provenance.clone(),
            ..Self::default()
        }
    }

    /// The record of a group, without comparisons to earlier rounds.
    pub(crate) fn of_group(step: u64, tokens: u64, result: GroupResult) -> Self {
        Self {
            step,
            tokens,
            task: result.name,
            domain: result.domain,
            members: result.tasks,
            n: result.n,
            shots: result.shots,
            chance: result.chance,
            primary_metric: result.primary_metric,
            metrics: result.metrics,
            truncated: result.truncated,
            non_finite: result.non_finite,
            seconds: result.seconds,
            provenance: result.provenance,
            ..Self::default()
        }
    }
}

/// Change of a task's primary metric since an earlier round, over the items evaluated in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The metric.
    pub metric: String,
    /// The step of the earlier round.
    pub step: u64,
    /// Value of the metric in the earlier round, over all of its items.
    pub before: Option<f64>,
    /// Number of items in both rounds.
    pub n: usize,
    /// The change: value, standard error, two-sided p-value (exact `McNemar` for accuracies of unclustered
    /// items, else a t-test of the paired changes).
    #[serde(flatten)]
    pub difference: PairedDifference,
}

/// The estimate of the record's primary metric: its accuracy, or its bits per byte if it has none.
#[must_use]
pub fn primary_metric(record: &ProbeRecord) -> Estimate {
    record.metrics.get(&record.primary_metric).copied().unwrap_or_default()
}
