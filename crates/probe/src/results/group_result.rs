//! Tasks that are also shown as one: a domain, or what a suite file declares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fineline_dynamics::{Clusters, Estimate, Observation, WeightedEstimate, combined_estimate, pooled_mean};
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::error::nearest_hint;
use crate::metrics::{cluster_labels, headline_name, higher_is_better};
use crate::suite::Provenance;
use crate::suite::round::TaskResult;
use crate::tasks::task::{Kind, Task};

/// Tasks of a suite whose results are also shown as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, unlike that of any task.
    pub name: String,
    /// The names of its tasks, two or more.
    pub tasks: Vec<String>,
    /// How their metrics become one.
    pub mean: GroupMean,
}

/// How the metrics of a group's tasks become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMean {
    /// Each item counts alike: the mean weighted by size, with the pooled standard error of lm-evaluation-harness.
    #[default]
    Items,
    /// Each task counts alike.
    Tasks,
    /// Each task counts alike, its accuracy centred so that guessing is 0 and all right is 1: `(acc − chance) / (1 − chance)`, as in the CORE score of DCLM
    /// (arXiv 2406.11794). A task that can't be guessed at has chance 0.
    Centred,
}

/// `[[groups]]` of a suite file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupFile {
    name: String,
    /// Names of tasks; absent: all of the suite.
    tasks: Option<Vec<String>>,
    #[serde(default)]
    mean: GroupMean,
}

/// What a group's tasks have found together in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupResult {
    /// The group.
    pub name: String,
    /// The domain of its tasks, or the group's own name if they have several.
    pub domain: String,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// How their metrics became these.
    pub mean: GroupMean,
    /// The metric that stands for it.
    pub headline: String,
    /// Items asked.
    pub n: usize,
    /// Solved examples before each, if that is the same in all tasks.
    pub shots: Option<usize>,
    /// What guessing scores in the headline metric.
    pub chance: Option<f64>,
    /// Each metric that all tasks have.
    pub metrics: BTreeMap<String, Estimate>,
    /// Items whose context lost tokens on its left to fit.
    pub truncated: usize,
    /// Choices whose log-likelihood is not finite.
    pub not_finite: usize,
    /// Seconds that the tasks took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}

impl GroupMean {
    /// By how much a change of accuracy counts for more when it is centred.
    pub(crate) fn stretch(chance: Option<f64>) -> f64 {
        1.0 / (1.0 - chance.unwrap_or(0.0))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Tasks => "tasks",
            Self::Centred => "centred",
        }
    }
}

/// The metric of a [`GroupMean::Centred`] group.
const CENTRED: &str = "centred_acc";

impl Group {
    /// The groups that a suite has if its file declares none: the tasks of each domain that are scored alike, if they are two or more; of several ways of
    /// scoring, that of the most tasks. Named `SUITE/DOMAIN`. Perplexities, of which lower is better, and representations are not averaged.
    pub(crate) fn of_domains<'a>(suite: &str, tasks: impl IntoIterator<Item = &'a Task>) -> Vec<Self> {
        let stem = Path::new(suite).file_stem().map_or(suite.into(), |stem| stem.to_string_lossy());
        let mut domains: Vec<(&str, Vec<&Task>)> = Vec::new();
        let has_mean =
            |task: &&Task| task.kind != Kind::Representation && higher_is_better(headline_name(task.kind));
        for task in tasks.into_iter().filter(has_mean) {
            match domains.iter_mut().find(|(domain, _)| *domain == task.domain) {
                Some((_, tasks)) => tasks.push(task),
                None => domains.push((&task.domain, vec![task])),
            }
        }
        let group = |(domain, tasks): (&str, Vec<&Task>)| {
            let alike = |kind| tasks.iter().filter(move |task| task.kind == kind);
            // `rev`: of equally many, `max_by_key` takes the last.
            let most = tasks.iter().rev().map(|task| task.kind).max_by_key(|kind| alike(*kind).count())?;
            let tasks: Vec<String> = alike(most).map(|task| task.name.clone()).collect();
            (tasks.len() > 1).then(|| Self {
                name: format!("{stem}/{domain}"),
                tasks,
                mean: GroupMean::Items,
            })
        };
        domains.into_iter().filter_map(group).collect()
    }

    /// The groups that a suite file declares, checked against the suite's tasks.
    pub(crate) fn declared(
        path: &Path,
        files: Vec<GroupFile>,
        tasks: &[Task],
    ) -> Result<Vec<Self>, ProbeError> {
        let mut names: BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        for file in &files {
            let wrong = |message: String| {
                Err(ProbeError::Group { path: path.to_owned(), group: file.name.clone(), message })
            };
            if !names.insert(&file.name) {
                return wrong("a task or another group of the suite has this name".into());
            }
            if let Some(message) = file.problem(tasks) {
                return wrong(message);
            }
        }
        let all = || tasks.iter().map(|task| task.name.clone()).collect();
        let group = |file: GroupFile| Self {
            name: file.name,
            tasks: file.tasks.unwrap_or_else(all),
            mean: file.mean,
        };
        Ok(files.into_iter().map(group).collect())
    }

    /// The group's result in a round; `None` if one of its tasks has none.
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
            headline: match self.mean {
                GroupMean::Centred => CENTRED.to_owned(),
                _ => headline_name(first.kind).to_owned(),
            },
            n: members.iter().map(|member| member.n).sum(),
            shots: same_shots.then_some(first.shots),
            chance: self.chance(&members),
            metrics: self.metrics(&members),
            truncated: members.iter().map(|member| member.truncated).sum(),
            not_finite: members.iter().map(|member| member.not_finite).sum(),
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

    /// The metrics that all members have. A mean of perplexities is no perplexity.
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

impl GroupFile {
    /// What is wrong with the group, by the suite's tasks.
    fn problem(&self, tasks: &[Task]) -> Option<String> {
        let known = || tasks.iter().map(|task| task.name.as_str());
        let names: Vec<&str> = match &self.tasks {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => known().collect(),
        };
        if let Some(name) = names.iter().find(|name| !known().any(|known| known == **name)) {
            return Some(format!("the suite has no task `{name}`{}", nearest_hint(name, known())));
        }
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Some("a task stands in it twice".into());
        }
        if names.len() < 2 {
            return Some("expected at least two tasks".into());
        }
        let members = || tasks.iter().filter(|task| names.contains(&task.name.as_str()));
        let headlines: BTreeSet<&str> = members().map(|task| headline_name(task.kind)).collect();
        if headlines.len() > 1 {
            let headlines = headlines.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!("expected tasks that are measured alike, but these are by {headlines}"));
        }
        if self.mean == GroupMean::Centred && !headlines.contains("acc") {
            return Some("expected tasks with an accuracy: only that can be centred".into());
        }
        members()
            .find(|task| self.mean == GroupMean::Centred && task.chance.is_some_and(|chance| chance >= 1.0))
            .map(|task| format!("task `{}` has a chance of 1: that can't be centred", task.name))
    }
}

impl GroupResult {
    /// What [`fineline_dynamics::phases`] follows.
    pub(crate) fn observation(metrics: &BTreeMap<String, Estimate>, headline: &str) -> Observation {
        let get = |name: &str| metrics.get(name).copied();
        let accuracy = get(headline).filter(|_| higher_is_better(headline)).unwrap_or_default();
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
    use crate::items::item_store::ItemRow;
    use crate::items::item_store::tests::row;
    use crate::metrics::metrics;
    use crate::tasks::task::tests::task;

    fn result(name: &str, outcomes: &[bool], chance: Option<f64>) -> TaskResult {
        let rows = |(item, right): (usize, &bool)| {
            let scores = if *right { [-1.0, -2.0] } else { [-2.0, -1.0] };
            [0, 1].map(|choice| ItemRow {
                task: name.into(),
                ..row(Kind::MultipleChoice, item as u32, choice, 0, scores[choice as usize])
            })
        };
        let items: Vec<ItemRow> = outcomes.iter().enumerate().flat_map(rows).collect();
        TaskResult {
            task: name.into(),
            domain: "d".into(),
            version: None,
            kind: Kind::MultipleChoice,
            n: outcomes.len(),
            total: outcomes.len(),
            shots: 0,
            chance,
            metrics: metrics(&items),
            items,
            representation: None,
            truncated: 1,
            not_finite: 0,
            seconds: 0.5,
            provenance: Provenance::for_tests("a"),
        }
    }

    fn group(mean: GroupMean) -> Group {
        Group { name: "g".into(), tasks: vec!["a".into(), "b".into()], mean }
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
        assert_eq!((whole.domain.as_str(), whole.headline.as_str()), ("d", "acc"));
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
            named("stories", "language", Kind::Perplexity),
            named("last_word", "language", Kind::Cloze),
            named("order", "language", Kind::MultipleChoice),
            named("agreement", "language", Kind::MultipleChoice),
            named("tools", "commonsense", Kind::MultipleChoice),
            named("gap", "commonsense", Kind::Cloze),
        ];
        let groups = Group::of_domains("path/to/small.toml", &tasks);
        let tasks = vec!["order".into(), "agreement".into()];
        assert_eq!(groups, [Group { name: "small/language".into(), tasks, mean: GroupMean::Items }]);
    }

    #[test]
    fn groups_that_cannot_be_are_named() {
        let named = |name: &str, kind| Task { name: name.into(), ..task(kind, &[("a", &["b", "c"], 0)]) };
        let tasks = [
            named("a", Kind::MultipleChoice),
            named("b", Kind::MultipleChoice),
            named("text", Kind::Perplexity),
            named("more_text", Kind::Perplexity),
        ];
        let declared =
            |toml: &str| Group::declared(Path::new("s.toml"), vec![toml::from_str(toml).unwrap()], &tasks);
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
        assert!(Group::declared(Path::new("s.toml"), twice, &tasks).is_err());
    }
}
