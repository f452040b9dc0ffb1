use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use fineline_data::Tokenizer;
use fineline_dynamics::Estimate;
use fineline_model::Llama;
use fineline_random::Permutation;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::nearest_hint;
use crate::generation::{CodeExecution, WrittenTask};
use crate::items::ItemRow;
use crate::metrics::metrics;
use crate::pack::{Rows, pack};
use crate::request::{Encoder, Request, word_count};
use crate::score::{Interrupted, LogLikelihood, score};
use crate::task::{Item, Kind, Task};
use crate::{Catalog, ProbeError};

/// Which part of a suite to ask, and how its text becomes tokens.
#[derive(Clone, Copy, Debug)]
pub struct SuiteOptions<'a> {
    /// The model's tokenizer; texts begin with BOS if its documents do.
    pub tokenizer: &'a Tokenizer,
    /// Tokens that the model can read at a time; longer contexts lose tokens on their left.
    pub max_len: usize,
    /// Items per task at most; `None` for all.
    pub items: Option<usize>,
    /// Names of the tasks; empty for all.
    pub tasks: &'a [String],
    /// Whether programs that the model writes may be run.
    pub code: CodeExecution<'a>,
}

/// Tasks, tokenized and packed, ready to be put to a model any number of times.
#[derive(Clone, Debug)]
pub struct Suite {
    name: String,
    tasks: Vec<PackedTask>,
}

#[derive(Clone, Debug)]
struct PackedTask {
    task: Task,
    name: Arc<str>,
    /// Indices of the items that are asked, rising.
    selected: Vec<usize>,
    /// The cluster of every item of the task.
    clusters: Vec<Option<u32>>,
    requests: Vec<Request>,
    batches: Vec<Rows>,
    /// What there is instead of requests, if the model writes the answers.
    written: Option<WrittenTask>,
    truncated: usize,
    provenance: Provenance,
}

/// A text that is scored after another one: a choice of an item, or a window of a text to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The task.
    pub task: &'a str,
    /// The item's index in the task's whole data.
    pub item: usize,
    /// The choice.
    pub choice: usize,
    /// Whether the context is [`Task::unconditional`].
    pub unconditional: bool,
    /// The tokens that the model reads first.
    pub context: &'a [u32],
    /// The tokens that are scored; none, where the model writes what follows.
    pub continuation: &'a [u32],
}

/// What a task's numbers depend on besides the weights: hashes in hexadecimal, and the scorer's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Of all of the task's items.
    pub data: String,
    /// Of the rules that made text of them.
    pub template: String,
    /// Of the tokenizer's file and whether texts begin with BOS.
    pub tokenizer: String,
    /// The scorer and its version.
    pub scorer: String,
}

/// How a model did on a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub task: String,
    /// The capability that it belongs to.
    pub domain: String,
    /// How it is scored.
    pub kind: Kind,
    /// Items asked.
    pub n: usize,
    /// Items that the task has.
    pub total: usize,
    /// Solved examples before each.
    pub shots: usize,
    /// The accuracy of guessing.
    pub chance: Option<f64>,
    /// Each metric with its error bars.
    pub metrics: std::collections::BTreeMap<String, Estimate>,
    /// The scores of each choice of each item, from which the metrics are computed.
    pub items: Vec<ItemRow>,
    /// Items whose context lost tokens on its left to fit.
    pub truncated: usize,
    /// Choices whose log-likelihood is not finite.
    pub not_finite: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}

impl Suite {
    /// Reads, checks, tokenizes and packs a suite of `catalog`. Whatever cannot be asked is refused here, before it is put to any model.
    pub fn load(catalog: &Catalog, name: &str, options: SuiteOptions) -> Result<Self, ProbeError> {
        let tasks = select_tasks(name, catalog.tasks(name)?, options.tasks)?;
        Self::new(name, tasks, options)
    }

    /// A suite of these tasks, all of them (`options.tasks` is not looked at).
    pub fn new(name: &str, tasks: Vec<Task>, options: SuiteOptions) -> Result<Self, ProbeError> {
        let mut names = BTreeSet::new();
        for task in &tasks {
            if !names.insert(&task.name) {
                let message = format!("suite `{name}` has two tasks of this name");
                return Err(ProbeError::Task { task: task.name.clone(), message });
            }
        }
        let tasks = tasks.into_iter().map(|task| PackedTask::new(task, options)).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), tasks })
    }

    /// The suite's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tasks, in the order in which they are asked.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().map(|packed| &packed.task)
    }

    /// What [`run`](Self::run) scores, as token ids, task by task: for whoever wants to see or compare it.
    pub fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        self.tasks.iter().flat_map(PackedTask::asked)
    }

    /// Puts `model`, which must be without autodiff (see [`Llama::valid`]), through every task. `interrupted` is asked before each batch.
    pub fn run(&self, model: &Llama, interrupted: &dyn Fn() -> bool) -> Result<Vec<TaskResult>, Interrupted> {
        let mut results = Vec::new();
        for task in &self.tasks {
            match task.run(model, interrupted)? {
                Ok(result) => results.push(result),
                Err(message) => {
                    tracing::error!(task = task.task.name, message, "the task failed: it has no result");
                }
            }
        }
        Ok(results)
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

/// The indices of `count` of `total` items, rising: those of a smaller count are among those of a larger, in every run.
fn subset(task: &str, total: usize, count: Option<usize>) -> Vec<usize> {
    let order = Permutation::new(0, &format!("probe/items/{task}"), 0, total as u64);
    let count = count.map_or(total, |count| count.min(total)) as u64;
    let mut selected: Vec<usize> = (0..count).map(|place| order.get(place) as usize).collect();
    selected.sort_unstable();
    selected
}

impl PackedTask {
    fn new(task: Task, options: SuiteOptions) -> Result<Self, ProbeError> {
        task.check()?;
        let SuiteOptions { tokenizer, max_len, .. } = options;
        let encoder = Encoder::new(tokenizer, max_len);
        let selected = subset(&task.name, task.items.len(), options.items);
        let of_item = |(place, &index): (usize, &usize)| {
            let refused = |message| ProbeError::Item { task: task.name.clone(), item: index, message };
            let item = &task.items[index];
            let mut requests = encoder.requests(place, item, task.kind).map_err(refused)?;
            if let Some(context) = &task.unconditional {
                encoder.add_unconditional(&mut requests, place, item, context).map_err(refused)?;
            }
            Ok::<_, ProbeError>(requests)
        };
        let scored = if task.kind.is_written() { &[][..] } else { &selected };
        let of_items: Vec<_> = scored.par_iter().enumerate().map(of_item).collect();
        // Of several errors, the first item's: `rayon` would give any.
        let of_items = of_items.into_iter().collect::<Result<Vec<_>, _>>()?;
        let written = task
            .generation
            .as_ref()
            .map(|rules| WrittenTask::new(&task, rules, &selected, tokenizer, max_len, options.code));
        let written = written.transpose().map_err(|(item, message)| match item {
            Some(item) => ProbeError::Item { task: task.name.clone(), item, message },
            None => ProbeError::Task { task: task.name.clone(), message },
        })?;
        let truncated = match &written {
            Some(written) => written.truncated,
            None => of_items.iter().filter(|item| item.truncated).count(),
        };
        if truncated > 0 {
            tracing::warn!(
                task = task.name,
                truncated,
                max_len,
                "contexts longer than the model can read lose their beginning"
            );
        }
        let requests: Vec<Request> = of_items.into_iter().flat_map(|item| item.requests).collect();
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Self {
            name: task.name.as_str().into(),
            selected,
            clusters: task.cluster_numbers(),
            batches: pack(&requests),
            requests,
            written,
            truncated,
            provenance: Provenance {
                data: task.data_hash(),
                template: hash(&task.template),
                tokenizer: hash(&format!("{} {:?}", tokenizer.fingerprint(), tokenizer.marks().bos)),
                scorer: task.kind.scorer().to_owned(),
            },
            task,
        })
    }

    fn run(
        &self,
        model: &Llama,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Result<TaskResult, String>, Interrupted> {
        let start = Instant::now();
        let items = match &self.written {
            Some(written) => {
                match written.run(model, &self.task, &self.selected, &self.clusters, interrupted)? {
                    Ok(items) => items,
                    Err(message) => return Ok(Err(message)),
                }
            }
            None => self.rows(&score(model, &self.requests, &self.batches, interrupted)?),
        };
        let metrics = metrics(&items);
        let not_finite = items.iter().filter(|row| !row.is_finite()).count();
        if not_finite > 0 {
            tracing::warn!(
                task = self.task.name,
                not_finite,
                "log-likelihoods are not finite: metrics that need them are null"
            );
        }
        Ok(Ok(TaskResult {
            task: self.task.name.clone(),
            domain: self.task.domain.clone(),
            kind: self.task.kind,
            n: self.selected.len(),
            total: self.task.items.len(),
            shots: self.task.shots,
            chance: self.task.chance,
            metrics,
            items,
            truncated: self.truncated,
            not_finite,
            seconds: start.elapsed().as_secs_f64(),
            provenance: self.provenance.clone(),
        }))
    }

    fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        let prompts = self.written.iter().flat_map(WrittenTask::prompts);
        let written = self.selected.iter().zip(prompts).map(|(&item, context)| Asked {
            task: &self.task.name,
            item,
            choice: 0,
            unconditional: false,
            context,
            continuation: &[],
        });
        let scored = self.requests.iter().flat_map(|request| {
            request.continuations.iter().map(|continuation| Asked {
                task: &self.task.name,
                item: self.selected[request.item],
                choice: continuation.choice,
                unconditional: request.unconditional,
                context: &request.context,
                continuation: &continuation.tokens,
            })
        });
        scored.chain(written)
    }

    /// Puts the scores of continuations together to those of choices.
    fn rows(&self, scores: &[Vec<LogLikelihood>]) -> Vec<ItemRow> {
        let nothing = |&index: &usize| vec![ChoiceScore::NOTHING; self.task.items[index].choices.len()];
        let mut of_choices: Vec<Vec<ChoiceScore>> = self.selected.iter().map(nothing).collect();
        for (request, scores) in self.requests.iter().zip(scores) {
            for (continuation, score) in request.continuations.iter().zip(scores) {
                let choice = &mut of_choices[request.item][continuation.choice];
                if request.unconditional {
                    choice.unconditional.get_or_insert(LogLikelihood::NOTHING).extend(*score);
                } else {
                    choice.given_context.extend(*score);
                }
            }
        }
        let items = self.selected.iter().zip(of_choices);
        items.flat_map(|(&index, scores)| self.rows_of_item(index, &self.task.items[index], scores)).collect()
    }

    fn rows_of_item(
        &self,
        index: usize,
        item: &Item,
        scores: Vec<ChoiceScore>,
    ) -> impl Iterator<Item = ItemRow> {
        let words = |text| (self.task.kind == Kind::Perplexity).then(|| word_count(text) as u32);
        scores.into_iter().enumerate().map(move |(choice, score)| {
            let text = item.measured(choice);
            ItemRow {
                task: Arc::clone(&self.name),
                kind: self.task.kind,
                item: index as u32,
                cluster: self.clusters[index],
                choice: choice as u32,
                gold: item.gold as u32,
                logprob: score.given_context.logprob,
                byte_logprob: None,
                unconditional_logprob: score.unconditional.map(|score| score.logprob),
                n_tokens: score.given_context.n_tokens,
                n_chars: text.chars().count() as u32,
                n_bytes: text.len() as u32,
                n_words: words(text),
                greedy: score.given_context.greedy,
                text: None,
                correct: None,
                filter: None,
                answer: None,
                score: None,
            }
        })
    }
}

/// How a model scored a choice after its own context, and, where that is asked, after the one that all items share.
#[derive(Clone, Copy)]
struct ChoiceScore {
    given_context: LogLikelihood,
    unconditional: Option<LogLikelihood>,
}

impl ChoiceScore {
    const NOTHING: Self = Self { given_context: LogLikelihood::NOTHING, unconditional: None };
}

#[cfg(test)]
impl Provenance {
    pub(crate) fn for_tests(data: &str) -> Self {
        let [template, tokenizer, scorer] = [(); 3].map(|()| String::new());
        Self { data: data.to_owned(), template, tokenizer, scorer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_nested_and_fixed() {
        let [few, many, all] = [Some(5), Some(50), None].map(|count| subset("t", 100, count));
        assert_eq!((few.len(), many.len(), all.len()), (5, 50, 100));
        assert!(few.iter().all(|index| many.contains(index)));
        assert!(all.into_iter().eq(0..100));
        assert_eq!(subset("t", 100, Some(5)), few);
        assert_ne!(subset("other", 100, Some(5)), few);
        assert_eq!(subset("t", 3, Some(9)), [0, 1, 2]);
    }

    #[test]
    fn unknown_tasks_are_named_with_the_nearest() {
        let tasks = || vec![crate::task::tests::task(Kind::Cloze, &[("a", &["b"], 0)])];
        assert_eq!(select_tasks("s", tasks(), &[]).unwrap().len(), 1);
        assert_eq!(select_tasks("s", tasks(), &["test".into()]).unwrap().len(), 1);
        let error = select_tasks("s", tasks(), &["tset".into()]).unwrap_err().to_string();
        assert_eq!(error, "suite `s` has no task `tset` (did you mean `test`?); it has test");
    }
}
