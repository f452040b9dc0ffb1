//! The loss on text that is never trained on, as a probe of its own.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use fineline_data::{Row, ValidationSource};
use fineline_kernels::{Visibility, token_logprobs};
use fineline_model::{Llama, Positions};
use fineline_probe::{Interrupted, ItemRow, Kind, ProbeRecord, Provenance, TaskResult, metrics};
use fineline_random::Permutation;
use fineline_train::document_spans;

use crate::config::RunConfig;
use crate::prepare::Prepared;

/// Measures perplexity and bits per byte of each source's validation split: rows as in training, each row an item.
pub(crate) struct Validation<'a> {
    config: &'a RunConfig,
    sources: &'a [ValidationSource],
    data_fingerprint: &'a str,
    tokenizer_fingerprint: &'a str,
}

impl<'a> Validation<'a> {
    pub(crate) fn new(config: &'a RunConfig, prepared: &'a Prepared) -> Self {
        Self {
            config,
            sources: prepared.dataset.validation(),
            data_fingerprint: prepared.dataset.fingerprint(),
            tokenizer_fingerprint: prepared.tokenizer.fingerprint(),
        }
    }

    /// Whether there is a measurement after `step` of a run of `last_step` steps.
    pub(crate) fn is_due(&self, step: u64, last_step: u64) -> bool {
        let every = self.config.validation.every_steps;
        every > 0 && (step.is_multiple_of(every) || step == last_step)
    }

    /// Puts the model through rows of each source.
    pub(crate) fn run(
        &self,
        model: &Llama,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<TaskResult>, Interrupted> {
        self.sources.iter().map(|source| self.measure(source, model, interrupted)).collect()
    }

    fn measure(
        &self,
        source: &ValidationSource,
        model: &Llama,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<TaskResult, Interrupted> {
        let start = Instant::now();
        let task: Arc<str> = format!("{}{}", ProbeRecord::VALIDATION, source.name()).into();
        let numbers = self.numbers(source);
        let mut items = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(self.config.train.micro_batch) {
            if interrupted() {
                return Err(Interrupted);
            }
            let rows: Vec<_> = numbers.iter().map(|&number| source.row(number)).collect();
            let scores = self.score(&rows.iter().map(|row| &row.row).collect::<Vec<_>>(), model);
            for ((&number, row), (nats, n_tokens)) in numbers.iter().zip(&rows).zip(scores) {
                items.push(ItemRow {
                    task: Arc::clone(&task),
                    kind: Kind::Perplexity,
                    item: number as u32,
                    cluster: None,
                    choice: 0,
                    gold: 0,
                    logprob: -nats,
                    n_tokens,
                    n_chars: 0,
                    n_bytes: row.target_bytes as u32,
                    n_words: None,
                    greedy: false,
                    text: None,
                    correct: None,
                });
            }
        }
        Ok(TaskResult {
            task: task.to_string(),
            domain: "language modelling".to_owned(),
            kind: Kind::Perplexity,
            n: items.len(),
            total: source.rows() as usize,
            shots: 0,
            chance: None,
            metrics: metrics(&items),
            not_finite: items.iter().filter(|item| !item.logprob.is_finite()).count(),
            items,
            truncated: 0,
            seconds: start.elapsed().as_secs_f64(),
            provenance: Provenance {
                data: self.data_fingerprint.to_owned(),
                template: "rows of data.validation_share".to_owned(),
                tokenizer: self.tokenizer_fingerprint.to_owned(),
                scorer: "validation/1".to_owned(),
            },
        })
    }

    /// The rows that are asked: the same ones in every run, and those of a smaller number among those of a larger.
    fn numbers(&self, source: &ValidationSource) -> Vec<u64> {
        let order = Permutation::new(0, "validation/rows", 0, source.rows());
        let count = source.rows().min(self.config.validation.rows as u64);
        let mut numbers: Vec<u64> = (0..count).map(|place| order.get(place)).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Nats and targets of each row. The head is applied only where a target counts.
    fn score(&self, rows: &[&Row], model: &Llama) -> Vec<(f64, u32)> {
        let (device, time) = (model.device(), self.config.data.seq_len);
        let mut tokens = Vec::with_capacity(rows.len() * time);
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            tokens.extend(row.tokens[..time].iter().map(|id| id.cast_signed()));
            for (at, _) in row.target_mask.iter().enumerate().filter(|(_, counts)| **counts) {
                places.push(((number * time + at) as u32).cast_signed());
                targets.push(row.tokens[at + 1].cast_signed());
            }
        }
        let visibility = if self.config.data.document_mask {
            Visibility::Spans(rows.iter().flat_map(|row| document_spans(row)).collect())
        } else {
            Visibility::Causal
        };
        let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(tokens, [rows.len(), time]), &device);
        let hidden_btd = model.hidden(tokens_bt, &Positions::Sequential, &visibility);
        let width = hidden_btd.dims()[2];
        let count = targets.len();
        let places_n = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        let hidden_nd = hidden_btd.reshape([rows.len() * time, width]).select(0, places_n);
        let targets_n = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &device);
        let mut logprobs = token_logprobs(hidden_nd, model.lm_head(), targets_n).logprob.into_iter();
        rows.iter()
            .map(|row| {
                let count = row.target_mask.iter().filter(|counts| **counts).count();
                let nats = logprobs.by_ref().take(count).map(|logprob| -f64::from(logprob)).sum();
                (nats, count as u32)
            })
            .collect()
    }
}
