//! Suites: tasks with tokenized items, evaluated together.

// Inputs and outputs of an evaluation.
pub(crate) mod options;
pub(crate) mod round;

// A task of a suite.
pub(crate) mod prepared_task;

use std::collections::{BTreeMap, BTreeSet};

use fineline_model::Llama;

use crate::error::{Interrupted, ProbeError};
use crate::requests::packing::pack;
use crate::requests::request::{Request, RequestTokens};
use crate::scorers::generation::answer_writer::GenerationStopped;
use crate::scorers::loglikelihood::score;
use crate::scorers::rank_share::RankShare;
use crate::scorers::representation::hidden_states::ScoredRepresentation;
use crate::sources::catalog::Catalog;
use crate::sources::suite_content::SuiteContent;
use crate::suite::options::SuiteOptions;
use crate::suite::prepared_task::{PreparedTask, TaskScoring};
use crate::suite::round::{EvaluationRound, RoundResults, RoundScores, TaskFailure};
use crate::tasks::group::TaskGroup;
use crate::tasks::task::Task;
use fineline_diagnostics::nearest_in_parentheses;

/// A set of tokenized tasks, ready to evaluate a model any number of times.
#[derive(Clone, Debug)]
pub struct Suite {
    name: String,
    tasks: Vec<PreparedTask>,
    groups: Vec<TaskGroup>,
}

impl Suite {
    /// Reads, checks and tokenizes a suite of `catalog`. Tasks that cannot be evaluated are refused here,
    /// before any evaluation.
    ///
    /// # Errors
    /// Those of [`Catalog::tasks`], [`ProbeError::UnknownTask`] for an unknown name in `options.tasks`, and
    /// those of [`Suite::new`].
    pub fn load(catalog: &Catalog, name: &str, options: SuiteOptions) -> Result<Self, ProbeError> {
        let SuiteContent { tasks, groups } = catalog.content(name)?;
        let tasks = select_tasks(name, tasks, options.tasks)?;
        let suite = Self::new(name, tasks, options)?;
        Ok(match groups {
            Some(groups) => suite.with_groups(groups),
            None => suite,
        })
    }

    /// Creates a suite of these tasks (`options.tasks` is ignored), with a group for each domain that has
    /// several.
    ///
    /// # Errors
    /// [`ProbeError::Task`] if two tasks have the same name or a task cannot be evaluated,
    /// [`ProbeError::Item`] if an item cannot.
    pub fn new(name: &str, tasks: Vec<Task>, options: SuiteOptions) -> Result<Self, ProbeError> {
        let mut names = BTreeSet::new();
        for task in &tasks {
            if !names.insert(&task.name) {
                let message = format!("suite `{name}` has two tasks of this name");
                return Err(ProbeError::Task { task: task.name.clone(), message });
            }
        }
        let tasks: Vec<PreparedTask> =
            tasks.into_iter().map(|task| PreparedTask::new(task, options)).collect::<Result<_, _>>()?;
        let groups = TaskGroup::of_domains(name, tasks.iter().map(PreparedTask::task));
        Ok(Self { name: name.to_owned(), tasks, groups })
    }

    /// Replaces the groups. Groups with a task that is not in the suite are dropped.
    #[must_use]
    pub fn with_groups(mut self, groups: Vec<TaskGroup>) -> Self {
        let is_asked = |name: &String| self.tasks().any(|task| task.name == *name);
        let groups = groups.into_iter().filter(|group| group.tasks.iter().all(is_asked)).collect();
        self.groups = groups;
        self
    }

    /// The groups of the suite.
    #[must_use]
    pub fn groups(&self) -> &[TaskGroup] {
        &self.groups
    }

    /// The suite's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tasks, in the order in which they are reported.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().map(PreparedTask::task)
    }

    /// The token ids of all requests of a complete round, task by task, for inspection and comparison.
    pub fn request_tokens(&self) -> impl Iterator<Item = RequestTokens<'_>> {
        self.tasks.iter().flat_map(PreparedTask::request_tokens)
    }

    /// Evaluates `model`, which must be without autodiff (see [`Llama::valid`]), on every task.
    ///
    /// # Errors
    /// [`Interrupted`] if `round.interrupted` returns true.
    pub fn run(&self, model: &Llama, round: &EvaluationRound<'_>) -> Result<RoundResults, Interrupted> {
        Ok(self.results(round, &self.score(model, round, RankShare::WHOLE)?))
    }

    /// Scores the share of a round that belongs to one of several ranks with the same weights.
    /// [`results`](Self::results) takes the merged scores of all ranks.
    ///
    /// # Errors
    /// [`Interrupted`] if `round.interrupted` returns true.
    pub fn score(
        &self,
        model: &Llama,
        round: &EvaluationRound<'_>,
        share: RankShare,
    ) -> Result<RoundScores, Interrupted> {
        let (tasks, requests): (Vec<usize>, Vec<&Request>) = self.requests(round).into_iter().unzip();
        let scored = score(model, &requests, &pack(&requests), share, round.interrupted)?;
        let mut scores = RoundScores {
            scored: scored.into_iter().map(|scored| (tasks[scored.request], scored)).collect(),
            represented: self.represent(model, round, share)?,
            ..RoundScores::default()
        };
        for (index, task) in self.tasks.iter().enumerate() {
            match task.write(model, round, share) {
                Ok(items) => scores.written.extend(items.into_iter().map(|item| (index, item))),
                Err(GenerationStopped::Interrupted) => return Err(Interrupted),
                Err(GenerationStopped::Failed(message)) => {
                    scores.failures.push(TaskFailure { task: task.task().name.clone(), message });
                }
            }
        }
        Ok(scores)
    }

    /// The representations of this rank's share. Their texts are the same in every round, so that all can be
    /// compared.
    fn represent(
        &self,
        model: &Llama,
        round: &EvaluationRound<'_>,
        share: RankShare,
    ) -> Result<Vec<ScoredRepresentation>, Interrupted> {
        let samples =
            self.tasks.iter().enumerate().filter_map(|(task, prepared)| Some((task, prepared.samples()?)));
        let own = samples.enumerate().filter(|(index, _)| share.takes(*index));
        own.map(|(_, (task, samples))| samples.represent(model, task, round.interrupted)).collect()
    }

    /// The results of a round from the merged scores of all ranks, in any order.
    ///
    /// # Panics
    /// If the scores are incomplete.
    #[must_use]
    pub fn results(&self, round: &EvaluationRound<'_>, scores: &RoundScores) -> RoundResults {
        let mut found: Vec<TaskScoring<'_>> = self.tasks.iter().map(|_| TaskScoring::default()).collect();
        scores.scored.iter().for_each(|(task, scored)| found[*task].scored.push(scored));
        // Scores are gathered rank by rank.
        for task in &mut found {
            task.scored.sort_unstable_by_key(|scored| scored.request);
        }
        scores.written.iter().for_each(|(task, item)| found[*task].written.push(item));
        scores
            .represented
            .iter()
            .for_each(|represented| found[represented.task].represented = Some(represented));
        // If a task failed on several ranks, the first failure counts.
        let failures = scores.failures.iter().map(|failure| (failure.task.as_str(), failure)).rev();
        let failures: BTreeMap<&str, &TaskFailure> = failures.collect();
        let mut results = RoundResults::default();
        for (task, found) in self.tasks.iter().zip(&found) {
            match failures.get(task.task().name.as_str()) {
                Some(&failure) => results.failures.push(failure.clone()),
                None => results.results.push(task.result(round, found)),
            }
        }
        results
    }

    /// The requests of a round, each with the index of its task.
    fn requests(&self, round: &EvaluationRound<'_>) -> Vec<(usize, &Request)> {
        let of_task =
            |(index, task)| PreparedTask::requests(task, round).map(move |request| (index, request));
        self.tasks.iter().enumerate().flat_map(of_task).collect()
    }
}

/// The tasks with these names, in the order of the suite. All tasks if no name is given.
fn select_tasks(suite: &str, mut tasks: Vec<Task>, wanted: &[String]) -> Result<Vec<Task>, ProbeError> {
    let names = || tasks.iter().map(|task| task.name.as_str());
    if let Some(name) = wanted.iter().find(|name| !names().any(|known| known == name.as_str())) {
        return Err(ProbeError::UnknownTask {
            suite: suite.to_owned(),
            name: name.clone(),
            hint: nearest_in_parentheses(name, names()),
            known: names().map(str::to_owned).collect(),
        });
    }
    tasks.retain(|task| wanted.is_empty() || wanted.contains(&task.name));
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::kind::TaskKind;

    #[test]
    fn unknown_tasks_are_named_with_the_nearest() {
        let tasks = || vec![crate::tasks::task::tests::task(TaskKind::GreedyMatch, &[("a", &["b"], 0)])];
        assert_eq!(select_tasks("s", tasks(), &[]).unwrap().len(), 1);
        assert_eq!(select_tasks("s", tasks(), &["test".into()]).unwrap().len(), 1);
        let error = select_tasks("s", tasks(), &["tset".into()]).unwrap_err().to_string();
        assert_eq!(error, "suite `s` has no task `tset` (did you mean `test`?): expected one of test");
    }
}
