//! Groups of tasks whose results are aggregated: a domain, or a group declared in a suite file.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::tasks::task::Task;
use fineline_diagnostics::nearest_in_parentheses;

/// Tasks of a suite whose results are aggregated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskGroup {
    /// Its name, distinct from that of any task.
    pub name: String,
    /// The names of its tasks, at least two.
    pub tasks: Vec<String>,
    /// Aggregation of their metrics.
    pub mean: GroupMean,
}

/// Aggregation of the metrics of a group's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMean {
    /// Mean over items: weighted by size, with the pooled standard error of lm-evaluation-harness.
    #[default]
    Items,
    /// Mean over tasks.
    Tasks,
    /// Mean over tasks of the accuracy, centred so that chance is 0 and a perfect score is 1: `(acc − chance)
    /// / (1 − chance)`, as in the CORE score of DCLM (arXiv 2406.11794). The chance of a task without a
    /// chance level is 0.
    Centred,
}

/// `[[groups]]` of a suite file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupFile {
    name: String,
    /// Names of tasks. Absent: all tasks of the suite.
    tasks: Option<Vec<String>>,
    #[serde(default)]
    mean: GroupMean,
}

impl GroupMean {
    /// Factor by which centring scales a change of accuracy.
    pub(crate) fn stretch(chance: Option<f64>) -> f64 {
        1.0 / (1.0 - chance.unwrap_or(0.0))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Tasks => "tasks",
            Self::Centred => "centred",
        }
    }
}

impl TaskGroup {
    /// The groups of a suite whose file declares none: for each domain, the tasks of the most frequent kind,
    /// if there are at least two. Named `SUITE/DOMAIN`. Perplexities, of which lower is better, and
    /// representations are not averaged.
    pub(crate) fn of_domains<'a>(suite: &str, tasks: impl IntoIterator<Item = &'a Task>) -> Vec<Self> {
        let stem = Path::new(suite).file_stem().map_or(suite.into(), |stem| stem.to_string_lossy());
        let mut domains: Vec<(&str, Vec<&Task>)> = Vec::new();
        for task in tasks.into_iter().filter(|task| task.kind.has_group_mean()) {
            match domains.iter_mut().find(|(domain, _)| *domain == task.domain) {
                Some((_, tasks)) => tasks.push(task),
                None => domains.push((&task.domain, vec![task])),
            }
        }
        let group = |(domain, tasks): (&str, Vec<&Task>)| {
            let alike = |kind| tasks.iter().filter(move |task| task.kind == kind);
            // `rev`: among equally frequent kinds, `max_by_key` returns the last.
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

    /// The groups declared in a suite file, checked against the suite's tasks.
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
}

impl GroupFile {
    /// Returns what is wrong with the group, given the suite's tasks.
    fn problem(&self, tasks: &[Task]) -> Option<String> {
        let known = || tasks.iter().map(|task| task.name.as_str());
        let names: Vec<&str> = match &self.tasks {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => known().collect(),
        };
        if let Some(name) = names.iter().find(|name| !known().any(|known| known == **name)) {
            return Some(format!("the suite has no task `{name}`{}", nearest_in_parentheses(name, known())));
        }
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Some("a task is listed twice".into());
        }
        if names.len() < 2 {
            return Some("expected at least two tasks".into());
        }
        let members = || tasks.iter().filter(|task| names.contains(&task.name.as_str()));
        let primary_metrics: BTreeSet<&str> = members().map(|task| task.kind.primary_metric()).collect();
        if primary_metrics.len() > 1 {
            let primary_metrics = primary_metrics.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!("expected tasks with the same primary metric, found {primary_metrics}"));
        }
        if self.mean == GroupMean::Centred && !primary_metrics.contains("acc") {
            return Some("expected tasks with an accuracy: only that can be centred".into());
        }
        members()
            .find(|task| self.mean == GroupMean::Centred && task.chance.is_some_and(|chance| chance >= 1.0))
            .map(|task| format!("task `{}` has a chance of 1: that can't be centred", task.name))
    }
}
