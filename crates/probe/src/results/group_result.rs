//! The result of a group of tasks in a round.

use std::collections::BTreeMap;

use fineline_dynamics::{Clusters, Estimate, Observation, WeightedEstimate, combined_estimate, pooled_mean};

use crate::metrics::higher_is_better;
use crate::metrics::item_rows::cluster_labels;
use crate::results::task_result::TaskResult;
use crate::tasks::group::{GroupMean, TaskGroup};
use crate::tasks::provenance::Provenance;

/// The result of a group of tasks in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupResult {
    /// The group.
    pub name: String,
    /// The domain of its tasks, or the name of the group if they have several.
    pub domain: String,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// Aggregation of the metrics of its tasks.
    pub mean: GroupMean,
    /// Name of the metric that represents the group.
    pub primary_metric: String,
    /// Number of evaluated items.
    pub n: usize,
    /// Number of few-shot examples, if it is the same for all tasks.
    pub shots: Option<usize>,
    /// Chance level of the primary metric.
    pub chance: Option<f64>,
    /// The metrics that all tasks have.
    pub metrics: BTreeMap<String, Estimate>,
    /// Number of items whose context was truncated on the left.
    pub truncated: usize,
    /// Number of choices with a log-likelihood that is not finite.
    pub non_finite: usize,
    /// Total seconds of the tasks.
    pub seconds: f64,
    /// Everything other than the weights that the numbers depend on.
    pub provenance: Provenance,
}

/// The metric of a [`GroupMean::Centred`] group.
const CENTRED: &str = "centred_acc";

impl TaskGroup {
    /// The result of the group in a round. `None` if one of its tasks has no result.
    #[must_use]
    pub fn result(&self, results: &[TaskResult]) -> Option<GroupResult> {
        let find = |name: &String| results.iter().find(|result| result.task == *name);
        let members: Vec<&TaskResult> = self.tasks.iter().map(find).collect::<Option<_>>()?;
        let first = members.first()?;
        let same_domain = members.iter().all(|member| member.domain == first.domain);
        let same_shots = members.iter().all(|member| member.shots == first.shots);
        Some(GroupResult {
            name: self.name.clone(),
            domain: if same_domain { first.domain.clone() } else { self.name.clone() },
            tasks: self.tasks.clone(),
            mean: self.mean,
            primary_metric: match self.mean {
                GroupMean::Centred => CENTRED.to_owned(),
                _ => first.kind.primary_metric().to_owned(),
            },
            n: members.iter().map(|member| member.n).sum(),
            shots: same_shots.then_some(first.shots),
            chance: self.chance(&members),
            metrics: self.metrics(&members),
            truncated: members.iter().map(|member| member.truncated).sum(),
            non_finite: members.iter().map(|member| member.non_finite).sum(),
            seconds: members.iter().map(|member| member.seconds).sum(),
            provenance: self.provenance(&members),
        })
    }

    fn chance(&self, members: &[&TaskResult]) -> Option<f64> {
        let items: usize = members.iter().map(|member| member.n).sum();
        let mean = |weight: &dyn Fn(&TaskResult) -> f64| {
            members.iter().map(|member| Some(weight(member) * member.chance?)).sum::<Option<f64>>()
        };
        match self.mean {
            GroupMean::Items => mean(&|member| member.n as f64 / items as f64),
            GroupMean::Tasks => mean(&|_| 1.0 / members.len() as f64),
            GroupMean::Centred => Some(0.0),
        }
    }

    /// The metrics that all members have, except perplexities: a mean of perplexities is not a perplexity.
    fn metrics(&self, members: &[&TaskResult]) -> BTreeMap<String, Estimate> {
        if self.mean == GroupMean::Centred {
            return BTreeMap::from([(CENTRED.to_owned(), self.estimate("acc", members))]);
        }
        let names = members.first().into_iter().flat_map(|member| member.metrics.keys());
        names
            .filter(|name| !name.ends_with("perplexity"))
            .filter(|name| members.iter().all(|member| member.metrics.contains_key(*name)))
            .map(|name| (name.clone(), self.estimate(name, members)))
            .collect()
    }

    fn estimate(&self, metric: &str, members: &[&TaskResult]) -> Estimate {
        let of = |member: &TaskResult| member.metrics.get(metric).copied().unwrap_or_default();
        let freedom = |member: &TaskResult| Clusters::of(cluster_labels(&member.items)).degrees_of_freedom();
        let share = 1.0 / members.len() as f64;
        let part = |member: &&TaskResult| {
            let Estimate { value, stderr, .. } = of(member);
            let (weight, value) = match (self.mean, member.chance) {
                (GroupMean::Centred, Some(chance)) => {
                    (share * GroupMean::stretch(member.chance), value.map(|value| value - chance))
                }
                _ => (share, value),
            };
            WeightedEstimate { weight, value, stderr, degrees_of_freedom: freedom(member) }
        };
        match self.mean {
            GroupMean::Items => {
                pooled_mean(&members.iter().map(|member| (of(member), member.n)).collect::<Vec<_>>())
            }
            GroupMean::Tasks | GroupMean::Centred => {
                combined_estimate(&members.iter().map(part).collect::<Vec<_>>())
            }
        }
    }

    fn provenance(&self, members: &[&TaskResult]) -> Provenance {
        let hash = |part: fn(&Provenance) -> &String| {
            let mut hasher = blake3::Hasher::new();
            for member in members {
                hasher.update(format!("{} {}\n", member.task, part(&member.provenance)).as_bytes());
            }
            hasher.finalize().to_hex().to_string()
        };
        Provenance {
            data: hash(|provenance| &provenance.data),
            template: hash(|provenance| &provenance.template),
            tokenizer: hash(|provenance| &provenance.tokenizer),
            scorer: format!("group/{}/1 {}", self.mean.name(), hash(|provenance| &provenance.scorer)),
        }
    }
}

impl GroupResult {
    /// The series that [`fineline_dynamics::phases`] follows.
    pub(crate) fn observation(metrics: &BTreeMap<String, Estimate>, primary_metric: &str) -> Observation {
        let get = |name: &str| metrics.get(name).copied();
        let accuracy = get(primary_metric).filter(|_| higher_is_better(primary_metric)).unwrap_or_default();
        let score = get("prob_per_char")
            .or_else(|| get("prob"))
            .or_else(|| get("bits_per_byte").map(|bits| bits.scaled(-1.0)))
            .unwrap_or(accuracy);
        Observation { score, accuracy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::ItemRow;
    use crate::items::item_row::tests::row;
    use crate::metrics::metrics;
    use crate::tasks::kind::TaskKind;
    use crate::tasks::task::Task;
    use crate::tasks::task::tests::task;
    use std::path::Path;

    fn result(name: &str, outcomes: &[bool], chance: Option<f64>) -> TaskResult {
        let rows = |(item, right): (usize, &bool)| {
            let scores = if *right { [-1.0, -2.0] } else { [-2.0, -1.0] };
            [0, 1].map(|choice| ItemRow {
                task: name.into(),
                ..row(TaskKind::MultipleChoice, item as u32, choice, 0, scores[choice as usize])
            })
        };
        let items: Vec<ItemRow> = outcomes.iter().enumerate().flat_map(rows).collect();
        TaskResult {
            task: name.into(),
            domain: "d".into(),
            version: None,
            kind: TaskKind::MultipleChoice,
            n: outcomes.len(),
            total: outcomes.len(),
            shots: 0,
            chance,
            metrics: metrics(&items),
            items,
            representation: None,
            truncated: 1,
            non_finite: 0,
            seconds: 0.5,
            provenance: Provenance::for_tests("a"),
        }
    }

    fn group(mean: GroupMean) -> TaskGroup {
        TaskGroup { name: "g".into(), tasks: vec!["a".into(), "b".into()], mean }
    }

    /// 3 of 4 and 1 of 2.
    fn results() -> [TaskResult; 2] {
        [result("a", &[true, true, false, true], Some(0.5)), result("b", &[true, false], Some(0.25))]
    }

    #[test]
    fn items_count_alike_or_tasks_do() {
        let acc = |mean, name: &str| group(mean).result(&results()).unwrap().metrics[name];
        assert!((acc(GroupMean::Items, "acc").value.unwrap() - 4.0 / 6.0).abs() < 1e-12);
        assert!((acc(GroupMean::Tasks, "acc").value.unwrap() - 0.625).abs() < 1e-12);
        // (0.25/0.5 + 0.25/0.75) / 2
        assert!((acc(GroupMean::Centred, CENTRED).value.unwrap() - 5.0 / 12.0).abs() < 1e-12);
        // Variances of the means 1/16 and 1/4; (3·4/16 + 1·2/4) / 4 / 6 and (1/16 + 1/4) / 4.
        assert!((acc(GroupMean::Items, "acc").stderr.unwrap().powi(2) - 1.25 / 24.0).abs() < 1e-12);
        assert!((acc(GroupMean::Tasks, "acc").stderr.unwrap().powi(2) - 5.0 / 64.0).abs() < 1e-12);
        let centred = (4.0 / 16.0 + 16.0 / 9.0 / 4.0) / 4.0;
        assert!((acc(GroupMean::Centred, CENTRED).stderr.unwrap().powi(2) - centred).abs() < 1e-12);
    }

    #[test]
    fn a_group_sums_up_what_its_tasks_say() {
        let whole = group(GroupMean::Items).result(&results()).unwrap();
        assert_eq!((whole.n, whole.truncated, whole.seconds, whole.shots), (6, 2, 1.0, Some(0)));
        assert!((whole.chance.unwrap() - 2.5 / 6.0).abs() < 1e-12);
        assert_eq!((whole.domain.as_str(), whole.primary_metric.as_str()), ("d", "acc"));
        assert_eq!(group(GroupMean::Tasks).result(&results()).unwrap().chance, Some(0.375));
        let [a, b] = results();
        assert_eq!(group(GroupMean::Items).result(std::slice::from_ref(&a)), None, "a task is missing");
        let unguessable = TaskResult { chance: None, ..b };
        assert_eq!(group(GroupMean::Items).result(&[a, unguessable]).unwrap().chance, None);
    }

    #[test]
    fn domains_of_several_tasks_are_groups() {
        let named = |name: &str, domain: &str, kind| Task {
            name: name.into(),
            domain: domain.into(),
            ..task(kind, &[("a", &["b", "c"], 0)])
        };
        let tasks = [
            named("stories", "language", TaskKind::Perplexity),
            named("last_word", "language", TaskKind::GreedyMatch),
            named("order", "language", TaskKind::MultipleChoice),
            named("agreement", "language", TaskKind::MultipleChoice),
            named("tools", "commonsense", TaskKind::MultipleChoice),
            named("gap", "commonsense", TaskKind::GreedyMatch),
        ];
        let groups = TaskGroup::of_domains("path/to/small.toml", &tasks);
        let tasks = vec!["order".into(), "agreement".into()];
        assert_eq!(groups, [TaskGroup { name: "small/language".into(), tasks, mean: GroupMean::Items }]);
    }

    #[test]
    fn groups_that_cannot_be_are_named() {
        let named = |name: &str, kind| Task { name: name.into(), ..task(kind, &[("a", &["b", "c"], 0)]) };
        let tasks = [
            named("a", TaskKind::MultipleChoice),
            named("b", TaskKind::MultipleChoice),
            named("text", TaskKind::Perplexity),
            named("more_text", TaskKind::Perplexity),
        ];
        let declared = |toml: &str| {
            TaskGroup::declared(Path::new("s.toml"), vec![toml::from_str(toml).unwrap()], &tasks)
        };
        let groups = declared("name = \"g\"\ntasks = [\"a\", \"b\"]\nmean = \"centred\"").unwrap();
        assert_eq!(groups, [group(GroupMean::Centred)]);
        for (toml, expected) in [
            (
                "name = \"a\"\ntasks = [\"a\", \"b\"]",
                "group `a`: a task or another group of the suite has this name",
            ),
            ("name = \"g\"\ntasks = [\"a\", \"txt\"]", "no task `txt` (did you mean `text`?)"),
            ("name = \"g\"\ntasks = [\"a\", \"a\"]", "twice"),
            ("name = \"g\"\ntasks = [\"a\"]", "at least two"),
            ("name = \"g\"", "acc, bits_per_byte"),
            (
                "name = \"g\"\ntasks = [\"text\", \"more_text\"]\nmean = \"centred\"",
                "only that can be centred",
            ),
        ] {
            let error = declared(toml).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = vec![toml::from_str("name = \"g\"\ntasks = [\"a\", \"b\"]").unwrap(); 2];
        assert!(TaskGroup::declared(Path::new("s.toml"), twice, &tasks).is_err());
    }
}
