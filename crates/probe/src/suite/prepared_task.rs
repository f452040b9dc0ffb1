//! A task prepared for evaluation: its items in the order of evaluation, as token ids.

use std::borrow::Cow;
use std::sync::Arc;

use fineline_model::{Llama, Prompt};
use fineline_random::Permutation;
use rayon::prelude::*;

use crate::error::ProbeError;
use crate::items::item_row::ItemRow;
use crate::metrics::metrics;
use crate::requests::encoder::RequestEncoder;
use crate::requests::request::{ItemRequests, Request, RequestTokens};
use crate::results::task_result::TaskResult;
use crate::scorers::generation::answer_writer::{
    AnswerWriter, GenerationStopped, RankTurn, WrittenAnswer, WrittenItem,
};
use crate::scorers::loglikelihood::{LogLikelihood, ScoredRequest};
use crate::scorers::rank_share::RankShare;
use crate::scorers::representation::hidden_states::{Representation, ScoredRepresentation, TextSamples};
use crate::suite::options::SuiteOptions;
use crate::suite::round::EvaluationRound;
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::provenance::Provenance;
use crate::tasks::task::Task;
use crate::text::whitespace::word_count;

#[derive(Clone, Debug)]
pub(crate) struct PreparedTask {
    task: Task,
    name: Arc<str>,
    /// The items of a complete round, in a fixed order. A smaller round evaluates the first of them.
    items: Vec<PreparedItem>,
    /// The cluster of each item of the task.
    clusters: Vec<Option<u32>>,
    /// The texts, in representation tasks.
    samples: Option<TextSamples>,
    /// Generates the answers, in tasks with generated answers.
    writer: Option<AnswerWriter>,
    provenance: Provenance,
}

#[derive(Clone, Debug)]
struct PreparedItem {
    /// Index in the complete data of the task.
    index: usize,
    /// Requests that are scored.
    requests: Vec<Request>,
    /// The prompt, in tasks with generated answers.
    prompt: Option<Prompt>,
    /// Whether a context was truncated on the left.
    truncated: bool,
}

/// The scores of a task in a round.
#[derive(Default)]
pub(crate) struct TaskScoring<'a> {
    /// Scores of its requests.
    pub(crate) scored: Vec<&'a ScoredRequest>,
    /// The generated answers.
    pub(crate) written: Vec<&'a WrittenItem>,
    /// The hidden states of its texts.
    pub(crate) represented: Option<&'a ScoredRepresentation>,
}

impl PreparedTask {
    pub(crate) fn new(task: Task, options: SuiteOptions) -> Result<Self, ProbeError> {
        task.check()?;
        let SuiteOptions { tokenizer, max_len, code, .. } = options;
        let encoder = RequestEncoder::new(tokenizer, max_len, &task.target_delimiter);
        let task = encoder.fit_examples(task)?;
        let order = order(&task.name, task.items.len(), options.limit);
        let new_writer = |rules| AnswerWriter::new(&task, rules, tokenizer, max_len, code);
        let writer = task.generation.as_ref().map(new_writer).transpose()?;
        let prepare = |&index: &usize| {
            let refused = |message| ProbeError::Item { task: task.name.clone(), item: index, message };
            let item = &task.items[index];
            if let Some(writer) = &writer {
                let (prompt, truncated) = writer.prompt(index, item).map_err(refused)?;
                return Ok(PreparedItem { index, requests: Vec::new(), prompt: Some(prompt), truncated });
            }
            let mut of_item = encoder.requests(index, item, task.kind).map_err(refused)?;
            if let Some(context) = &task.unconditional {
                encoder.add_unconditional(&mut of_item, index, item, context).map_err(refused)?;
            }
            let ItemRequests { requests, truncated } = of_item;
            Ok(PreparedItem { index, requests, prompt: None, truncated })
        };
        let mut items: Vec<Result<PreparedItem, ProbeError>> = order.par_iter().map(prepare).collect();
        // Among several errors, report that of the first item in the data: `rayon` would report an arbitrary
        // one.
        let first_error =
            (0..items.len()).filter(|&index| items[index].is_err()).min_by_key(|&index| order[index]);
        if let Some(index) = first_error {
            return Err(items.swap_remove(index).expect_err("it is an error"));
        }
        let items: Vec<PreparedItem> = items.into_iter().collect::<Result<_, _>>()?;
        let truncated = items.iter().filter(|item| item.truncated).count();
        if truncated > 0 {
            tracing::warn!(
                task = task.name,
                truncated,
                max_len,
                "contexts longer than the model's context length are truncated on the left"
            );
        }
        let clusters = task.cluster_numbers();
        let samples = (task.kind == TaskKind::Representation)
            .then(|| TextSamples::new(&task, &order, &clusters, &encoder))
            .transpose()?;
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Self {
            name: task.name.as_str().into(),
            items,
            clusters,
            samples,
            writer,
            provenance: Provenance {
                data: task.data_hash(),
                template: hash(&task.template),
                tokenizer: hash(&format!(
                    "{} {:?}",
                    tokenizer.fingerprint(),
                    tokenizer.boundary_tokens().bos
                )),
                scorer: task.kind.scorer().to_owned(),
            },
            task,
        })
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    /// The texts, in representation tasks.
    pub(crate) fn samples(&self) -> Option<&TextSamples> {
        self.samples.as_ref()
    }

    /// The items of a round, in the order of the data.
    fn items(&self, round: &EvaluationRound<'_>) -> Vec<&PreparedItem> {
        let count = round.limit.map_or(self.items.len(), |count| count.min(self.items.len()));
        let mut items: Vec<&PreparedItem> = self.items[..count].iter().collect();
        items.sort_unstable_by_key(|item| item.index);
        items
    }

    /// The requests of a round, in the order of the data.
    pub(crate) fn requests(&self, round: &EvaluationRound<'_>) -> impl Iterator<Item = &Request> {
        self.items(round).into_iter().flat_map(|item| &item.requests)
    }

    pub(crate) fn request_tokens(&self) -> impl Iterator<Item = RequestTokens<'_>> {
        let scored = self.requests(&EvaluationRound::WHOLE).flat_map(|request| {
            request.continuations.iter().map(|continuation| RequestTokens {
                task: &self.task.name,
                item: request.item,
                choice: continuation.choice,
                unconditional: request.unconditional,
                context: request.before(continuation),
                continuation: &continuation.tokens,
            })
        });
        let prompts = self.items(&EvaluationRound::WHOLE).into_iter();
        let prompts = prompts.filter_map(|item| Some((item.index, item.prompt.as_ref()?)));
        scored.chain(prompts.map(|(item, prompt)| RequestTokens {
            task: &self.task.name,
            item,
            choice: 0,
            unconditional: false,
            context: Cow::from(&prompt.tokens),
            continuation: &[],
        }))
    }

    /// Generates this rank's share of the answers of a round.
    pub(crate) fn write(
        &self,
        model: &Llama,
        round: &EvaluationRound<'_>,
        share: RankShare,
    ) -> Result<Vec<WrittenItem>, GenerationStopped> {
        let Some(writer) = &self.writer else { return Ok(Vec::new()) };
        let items = self.items(round);
        let prompts = items.iter().filter_map(|item| Some((item.index, item.prompt.as_ref()?)));
        writer.write(
            model,
            &self.task,
            &prompts.collect::<Vec<_>>(),
            &RankTurn { share, interrupted: round.interrupted },
        )
    }

    /// The result of a round, from the scores of the task.
    pub(crate) fn result(&self, round: &EvaluationRound<'_>, found: &TaskScoring<'_>) -> TaskResult {
        let TaskScoring { scored, written, represented } = found;
        let prepared = self.items(round);
        let items = match self.writer {
            Some(_) => self.written_rows(written),
            None => self.rows(&prepared, scored),
        };
        let representation = represented.map(|represented| &represented.representation);
        let non_finite = items.iter().filter(|row| !row.is_finite()).count()
            + representation.map_or(0, Representation::non_finite);
        if non_finite > 0 {
            tracing::warn!(
                task = self.task.name,
                non_finite,
                "log-likelihoods or hidden states are not finite: metrics that need them are null"
            );
        }
        TaskResult {
            task: self.task.name.clone(),
            domain: self.task.domain.clone(),
            version: self.task.version.clone(),
            kind: self.task.kind,
            n: representation.map_or(prepared.len(), |representation| representation.items.len()),
            total: self.task.items.len(),
            shots: self.task.shots,
            chance: self.task.chance,
            metrics: metrics(&items),
            items,
            representation: representation.cloned(),
            truncated: prepared.iter().filter(|item| item.truncated).count(),
            non_finite,
            seconds: scored.iter().map(|scored| scored.seconds).sum::<f64>()
                + written.iter().map(|item| item.seconds).sum::<f64>()
                + represented.map_or(0.0, |represented| represented.seconds),
            provenance: self.provenance.clone(),
        }
    }

    /// The answers, in the order of the data.
    fn written_rows(&self, written: &[&WrittenItem]) -> Vec<ItemRow> {
        let mut written = written.to_vec();
        written.sort_unstable_by_key(|item| item.item);
        let mut rows = Vec::new();
        for WrittenItem { item, answers, .. } in written {
            let row = |answer: &WrittenAnswer| {
                answer.row(&self.name, self.task.kind, *item as u32, self.clusters[*item])
            };
            rows.extend(answers.iter().map(row));
        }
        rows
    }

    /// Combines the scores of continuations to those of choices.
    fn rows(&self, items: &[&PreparedItem], scored: &[&ScoredRequest]) -> Vec<ItemRow> {
        let requests: usize = items.iter().map(|item| item.requests.len()).sum();
        assert_eq!(scored.len(), requests, "expected the scores of the complete round");
        let mut scored = scored.iter().peekable();
        let mut rows = Vec::new();
        for &PreparedItem { index, .. } in items {
            let item = &self.task.items[*index];
            let mut of_choices = vec![ChoiceScore::NOTHING; item.choices.len()];
            while let Some(scored) = scored.next_if(|scored| scored.item == *index) {
                for continuation in &scored.continuations {
                    of_choices[continuation.choice].extend(continuation.score, scored.unconditional);
                }
            }
            rows.extend(self.rows_of_item(*index, item, of_choices));
        }
        rows
    }

    fn rows_of_item(
        &self,
        index: usize,
        item: &Item,
        scores: Vec<ChoiceScore>,
    ) -> impl Iterator<Item = ItemRow> {
        let words = |text| (self.task.kind == TaskKind::Perplexity).then(|| word_count(text) as u32);
        scores.into_iter().enumerate().map(move |(choice, score)| {
            let text = item.measured(choice);
            ItemRow {
                cluster: self.clusters[index],
                choice: choice as u32,
                gold: item.gold as u32,
                logprob: score.given_context.logprob,
                unconditional_logprob: score.unconditional.map(|score| score.logprob),
                optimal_logprob: item.questions.get(choice).map(|question| question.optimal_logprob),
                n_tokens: score.given_context.n_tokens,
                n_chars: text.chars().count() as u32,
                n_bytes: text.len() as u32,
                n_words: words(text),
                greedy: score.given_context.greedy,
                correct: (!item.other_gold.is_empty())
                    .then(|| choice == item.gold || item.other_gold.contains(&choice)),
                ..ItemRow::new(&self.name, self.task.kind, index as u32)
            }
        })
    }
}

/// The scores of a choice after its own context, and, if requested, after the context shared by all items.
#[derive(Clone, Copy)]
struct ChoiceScore {
    given_context: LogLikelihood,
    unconditional: Option<LogLikelihood>,
}

impl ChoiceScore {
    const NOTHING: Self = Self { given_context: LogLikelihood::NOTHING, unconditional: None };

    fn extend(&mut self, score: LogLikelihood, unconditional: bool) {
        if unconditional {
            self.unconditional.get_or_insert(LogLikelihood::NOTHING).extend(score);
        } else {
            self.given_context.extend(score);
        }
    }
}

/// Indices of `count` of `total` items, in the order of evaluation, which is the same in every run. The
/// indices of a smaller count are the first of a larger one's.
fn order(task: &str, total: usize, count: Option<usize>) -> Vec<usize> {
    let order = Permutation::new(0, &format!("probe/items/{task}"), 0, total as u64);
    let count = count.map_or(total, |count| count.min(total)) as u64;
    (0..count).map(|index| order.get(index) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_nested_and_fixed() {
        let [few, many, mut all] = [Some(5), Some(50), None].map(|count| order("t", 100, count));
        assert_eq!((few.len(), many.len(), all.len()), (5, 50, 100));
        assert_eq!((&few[..], &many[..]), (&all[..5], &all[..50]));
        assert_ne!(few, order("other", 100, Some(5)));
        assert_ne!(all, (0..100).collect::<Vec<_>>());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        assert_eq!(order("t", 3, Some(9)).len(), 3);
    }
}
