// What to evaluate, and what comes of it.
pub(crate) mod options;
pub(crate) mod round;

// A task of a suite.
pub(crate) mod prepared_task;

use std::collections::{BTreeMap, BTreeSet};

use fineline_model::Llama;

use crate::error::{Interrupted, ProbeError, nearest_hint};
use crate::requests::packing::pack;
use crate::requests::request::{Asked, Request};
use crate::scorers::generation::answer_writer::Stopped;
use crate::scorers::loglikelihood::{Scored, score};
use crate::scorers::rank_share::Share;
use crate::scorers::representation::hidden_states::Represented;
use crate::sources::catalog::Catalog;
use crate::sources::suite_content::SuiteContent;
use crate::suite::options::SuiteOptions;
use crate::suite::prepared_task::{Found, PreparedTask};
use crate::suite::round::{Round, RoundResults, RoundScores, TaskFailure};
use crate::tasks::group::Group;
use crate::tasks::task::Task;

/// Tasks, tokenized, ready to be put to a model any number of times.
#[derive(Clone, Debug)]
pub struct Suite {
    name: String,
    tasks: Vec<PreparedTask>,
    groups: Vec<Group>,
}

impl Suite {
    /// Reads, checks and tokenizes a suite of `catalog`. Whatever cannot be asked is refused here, before it is put to any model.
    pub fn load(catalog: &Catalog, name: &str, options: SuiteOptions) -> Result<Self, ProbeError> {
        let SuiteContent { tasks, groups } = catalog.content(name)?;
        let tasks = select_tasks(name, tasks, options.tasks)?;
        let suite = Self::new(name, tasks, options)?;
        Ok(match groups {
            Some(groups) => suite.with_groups(groups),
            None => suite,
        })
    }

    /// A suite of these tasks, all of them (`options.tasks` is not looked at), and a group for each domain of several.
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
        let groups = Group::of_domains(name, tasks.iter().map(PreparedTask::task));
        Ok(Self { name: name.to_owned(), tasks, groups })
    }

    /// The suite with other groups; one of which not all tasks are asked is left out.
    #[must_use]
    pub fn with_groups(mut self, groups: Vec<Group>) -> Self {
        let is_asked = |name: &String| self.tasks().any(|task| task.name == *name);
        let groups = groups.into_iter().filter(|group| group.tasks.iter().all(is_asked)).collect();
        self.groups = groups;
        self
    }

    /// The groups that the tasks are also shown as.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
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

    /// What a whole round scores, as token ids, task by task: for whoever wants to see or compare it.
    pub fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        self.tasks.iter().flat_map(PreparedTask::asked)
    }

    /// Puts `model`, which must be without autodiff (see [`Llama::valid`]), through a round of every task.
    pub fn run(&self, model: &Llama, round: &Round<'_>) -> Result<RoundResults, Interrupted> {
        Ok(self.results(round, &self.score(model, round, Share::WHOLE)?))
    }

    /// The part of a round that falls to one of several processes with the same weights. All of them, merged, are what
    /// [`results`](Self::results) takes.
    pub fn score(&self, model: &Llama, round: &Round<'_>, share: Share) -> Result<RoundScores, Interrupted> {
        let requests = self.requests(round);
        let requests: Vec<&Request> = requests.into_iter().map(|(_, request)| request).collect();
        let mut scores = RoundScores {
            scored: score(model, &requests, &pack(&requests), share, round.interrupted)?,
            represented: self.represent(model, round, share)?,
            ..RoundScores::default()
        };
        for (place, task) in self.tasks.iter().enumerate() {
            match task.write(model, round, share) {
                Ok(items) => scores.written.extend(items.into_iter().map(|item| (place, item))),
                Err(Stopped::Interrupted) => return Err(Interrupted),
                Err(Stopped::Failed(message)) => {
                    scores.failures.push(TaskFailure { task: task.task().name.clone(), message });
                }
            }
        }
        Ok(scores)
    }

    /// The representations that fall to a process. They are of the same texts in each round, so that all can be compared.
    fn represent(
        &self,
        model: &Llama,
        round: &Round<'_>,
        share: Share,
    ) -> Result<Vec<Represented>, Interrupted> {
        let samples =
            self.tasks.iter().enumerate().filter_map(|(task, prepared)| Some((task, prepared.samples()?)));
        let own = samples.enumerate().filter(|(place, _)| share.takes(*place));
        own.map(|(_, (task, samples))| samples.represent(model, task, round.interrupted)).collect()
    }

    /// The results of a round from the scores of all of it, in whatever order they came together.
    ///
    /// # Panics
    /// If they are another round's, or only a part.
    #[must_use]
    pub fn results(&self, round: &Round<'_>, scores: &RoundScores) -> RoundResults {
        let of_requests: BTreeMap<usize, &Scored> =
            scores.scored.iter().map(|scored| (scored.request, scored)).collect();
        let requests = self.requests(round);
        let mut found: Vec<Found<'_>> = self.tasks.iter().map(|_| Found::default()).collect();
        for (index, (task, request)) in requests.iter().enumerate() {
            let scored = *of_requests.get(&index).expect("all of the round has been scored");
            found[*task].scored.push((*request, scored));
        }
        scores.written.iter().for_each(|(task, item)| found[*task].written.push(item));
        scores
            .represented
            .iter()
            .for_each(|represented| found[represented.task].represented = Some(represented));
        // Of a task that failed in several processes, the first failure.
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

    /// What a round scores, each with the place of its task.
    fn requests(&self, round: &Round<'_>) -> Vec<(usize, &Request)> {
        let of_task =
            |(place, task)| PreparedTask::requests(task, round).map(move |request| (place, request));
        self.tasks.iter().enumerate().flat_map(of_task).collect()
    }
}

/// The tasks of `wanted` names, in the suite's order; all if none is named.
fn select_tasks(suite: &str, mut tasks: Vec<Task>, wanted: &[String]) -> Result<Vec<Task>, ProbeError> {
    let names = || tasks.iter().map(|task| task.name.as_str());
    if let Some(name) = wanted.iter().find(|name| !names().any(|known| known == name.as_str())) {
        return Err(ProbeError::UnknownTask {
            suite: suite.to_owned(),
            name: name.clone(),
            hint: nearest_hint(name, names()),
            known: names().map(str::to_owned).collect(),
        });
    }
    tasks.retain(|task| wanted.is_empty() || wanted.contains(&task.name));
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::kind::Kind;

    #[test]
    fn unknown_tasks_are_named_with_the_nearest() {
        let tasks = || vec![crate::tasks::task::tests::task(Kind::Cloze, &[("a", &["b"], 0)])];
        assert_eq!(select_tasks("s", tasks(), &[]).unwrap().len(), 1);
        assert_eq!(select_tasks("s", tasks(), &["test".into()]).unwrap().len(), 1);
        let error = select_tasks("s", tasks(), &["tset".into()]).unwrap_err().to_string();
        assert_eq!(error, "suite `s` has no task `tset` (did you mean `test`?); it has test");
    }
}
