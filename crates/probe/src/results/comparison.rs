//! Item-by-item comparison of two rounds of a task or of a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use fineline_dynamics::{
    Clusters, PairedDifference, WeightedEstimate, combined_difference, paired_binary, paired_mean,
    paired_ratio,
};

use crate::items::item_row::ItemRow;
use crate::metrics::item_score::{ItemScore, ItemValue};
use crate::metrics::item_scores;
use crate::tasks::group::GroupMean;

/// Contributions of a task's items to one metric in a round: all that a comparison needs.
#[derive(Clone, Debug)]
pub(crate) struct TaskScores {
    task: Arc<str>,
    chance: Option<f64>,
    scores: Vec<ItemScore>,
}

impl TaskScores {
    /// From the rows of one task. `None` if there are no rows, or the metric doesn't exist.
    pub(crate) fn new(rows: &[ItemRow], metric: &str, chance: Option<f64>) -> Option<Self> {
        let task = Arc::clone(&rows.first()?.task);
        Some(Self { task, chance, scores: item_scores(rows, metric)? })
    }

    /// The change since `before`, over the items in both rounds.
    fn change_since(&self, before: &Self) -> Option<MetricChange> {
        let earlier: BTreeMap<u32, ItemValue> =
            before.scores.iter().map(|item| (item.item, item.score)).collect();
        let both = |item: &ItemScore| Some((item.cluster, *earlier.get(&item.item)?, item.score));
        let pairs: Vec<(Option<u32>, ItemValue, ItemValue)> = self.scores.iter().filter_map(both).collect();
        let clusters = Clusters::of(pairs.iter().map(|(cluster, ..)| *cluster));
        let scores: Vec<(ItemValue, ItemValue)> =
            pairs.into_iter().map(|(_, before, after)| (before, after)).collect();
        let difference = paired_difference(&scores, &clusters)?;
        Some(MetricChange { n: scores.len(), difference, degrees_of_freedom: clusters.degrees_of_freedom() })
    }
}

/// Change of a task's metric over `n` items.
struct MetricChange {
    n: usize,
    difference: PairedDifference,
    degrees_of_freedom: usize,
}

/// The change between two rounds of one task, or of the tasks of a group under its `mean`: the number of
/// items in both rounds, and the difference. `None` if a task has no item in both.
pub(crate) fn compare(
    before: &[TaskScores],
    after: &[TaskScores],
    mean: Option<GroupMean>,
) -> Option<(usize, PairedDifference)> {
    let change = |task: &TaskScores| {
        let earlier = before.iter().find(|earlier| earlier.task == task.task)?;
        task.change_since(earlier)
    };
    let changes: Vec<MetricChange> = after.iter().map(change).collect::<Option<_>>()?;
    let n = changes.iter().map(|change| change.n).sum();
    let Some(mean) = mean else { return Some((n, changes.first()?.difference)) };
    let part = |(change, task): (&MetricChange, &TaskScores)| WeightedEstimate {
        weight: match mean {
            GroupMean::Items => change.n as f64 / n as f64,
            GroupMean::Tasks => 1.0 / after.len() as f64,
            GroupMean::Centred => GroupMean::stretch(task.chance) / after.len() as f64,
        },
        value: change.difference.value,
        stderr: change.difference.stderr,
        degrees_of_freedom: change.degrees_of_freedom,
    };
    let parts: Vec<WeightedEstimate> = changes.iter().zip(after).map(part).collect();
    Some((n, combined_difference(&parts)))
}

/// The paired difference, second minus first. `None` without items.
fn paired_difference(pairs: &[(ItemValue, ItemValue)], clusters: &Clusters) -> Option<PairedDifference> {
    let (first, _) = pairs.first()?;
    Some(match first {
        ItemValue::Outcome(_) => {
            let outcome =
                |score: &ItemValue| if let ItemValue::Outcome(outcome) = score { *outcome } else { None };
            let outcomes: Option<Vec<(bool, bool)>> =
                pairs.iter().map(|(before, after)| outcome(before).zip(outcome(after))).collect();
            outcomes.map_or(PairedDifference::UNKNOWN, |outcomes| paired_binary(&outcomes, clusters))
        }
        ItemValue::Real(_) => {
            let real = |score: &ItemValue| if let ItemValue::Real(value) = score { *value } else { f64::NAN };
            let scores: Vec<(f64, f64)> =
                pairs.iter().map(|(before, after)| (real(before), real(after))).collect();
            paired_mean(&scores, clusters)
        }
        ItemValue::Ratio(..) => {
            let parts = |score: &ItemValue| match score {
                ItemValue::Ratio(numerator, denominator) => (*numerator, *denominator),
                _ => (f64::NAN, f64::NAN),
            };
            let documents: Vec<(f64, f64, f64)> = pairs
                .iter()
                .map(|(before, after)| (parts(before).0, parts(after).0, parts(after).1))
                .collect();
            paired_ratio(&documents, clusters)
        }
    })
}
