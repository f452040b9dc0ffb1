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
    /// Steps made before the round.
    pub step: u64,
    /// Tokens consumed by then.
    pub tokens: u64,
    /// The task or group.
    pub task: String,
    /// The capability that it belongs to.
    pub domain: String,
    /// How it is scored; null for a group.
    pub kind: Option<TaskKind>,
    /// The tasks of a group; not there for a task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Items asked.
    pub n: usize,
    /// Solved examples before each; null where the tasks of a group differ.
    pub shots: Option<usize>,
    /// What guessing scores in the headline metric, where there is something to guess among.
    pub chance: Option<f64>,
    /// The name of the metric that stands for the task: what `delta`, `best` and `min_detectable_effect` are of.
    pub primary_metric: String,
    /// Each metric with its standard error and 95 % interval.
    pub metrics: BTreeMap<String, Estimate>,
    /// The change since the task's previous round; null in its first.
    pub delta: Option<Delta>,
    /// The change since the best of all earlier rounds; null in the first.
    pub best: Option<Delta>,
    /// The least true change of the headline metric that a test at 5 % finds in four of five cases: from the spread of the changes since the previous round; in a
    /// first round, or where none changed, from the metric's own error as if other items were asked next.
    pub min_detectable_effect: Option<f64>,
    /// Where the task stands on its curve; null while that cannot be told.
    pub phase: Option<Phase>,
    /// Items whose context lost tokens on its left to fit.
    pub truncated: usize,
    /// Choices whose log-likelihood is not finite; where there are any, the metrics that need them are null.
    pub non_finite: usize,
    /// Seconds the task took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}

impl ProbeRecord {
    /// Beginning of the names of tasks that are the validation split of a source.
    pub const VALIDATION: &str = "validation/";

    /// Whether this is a measurement of a validation split rather than a task of a suite.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        self.task.starts_with(Self::VALIDATION)
    }

    /// Whether this sums up several tasks, which have lines of their own.
    #[must_use]
    pub fn is_group(&self) -> bool {
        !self.members.is_empty()
    }

    /// The tasks whose items this is about.
    pub(crate) fn tasks(&self) -> &[String] {
        if self.is_group() { &self.members } else { std::slice::from_ref(&self.task) }
    }

    /// The line of a task, without what earlier rounds say.
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

    /// The line of a group, without what earlier rounds say.
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

/// A change of a task's headline metric since an earlier round, over the items asked in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The metric.
    pub metric: String,
    /// The step of the earlier round.
    pub step: u64,
    /// What the metric was then, over all items of that round.
    pub before: Option<f64>,
    /// Items in both rounds.
    pub n: usize,
    /// The change: value, standard error, two-sided p-value (exact `McNemar` for accuracies of unclustered items, else a t-test of the paired changes).
    #[serde(flatten)]
    pub difference: PairedDifference,
}

/// The metric that stands for the task: its accuracy, or its bits per byte where there is none.
#[must_use]
pub fn primary_metric(record: &ProbeRecord) -> Estimate {
    record.metrics.get(&record.primary_metric).copied().unwrap_or_default()
}
