//! Validation: the loss on held-out text, evaluated as a probe of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use fineline_data::{ValidationRow, ValidationSource};
use fineline_kernels::{AttentionMask, token_logprobs};
use fineline_model::{Llama, Positions};
use fineline_probe::{Interrupted, ItemRow, ProbeRecord, Provenance, TaskKind, TaskResult, metrics};
use fineline_random::Permutation;
use fineline_train::document_spans;
use serde::{Deserialize, Serialize};

use super::evaluator::Evaluator;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::prepare::Prepared;

/// Measures perplexity and bits per byte on the validation split of each source. Rows are packed as in
/// training, and each row is an item.
pub(crate) struct Validation<'a> {
    config: &'a RunConfig,
    sources: &'a [ValidationSource],
    data_fingerprint: &'a str,
    tokenizer_fingerprint: &'a str,
}

/// Log-probabilities of the rows of a source.
#[derive(Default, Serialize, Deserialize)]
struct SourceScores {
    /// Log-probabilities of each batch's targets that count, row by row.
    batches: BTreeMap<usize, Vec<f32>>,
    /// Seconds that the batches took.
    seconds: f64,
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

    /// Whether validation is due after `step` of a run of `last_step` steps.
    pub(crate) fn is_due(&self, step: u64, last_step: u64) -> bool {
        let every = self.config.validation.every_steps;
        every > 0 && (step.is_multiple_of(every) || step == last_step)
    }

    /// Evaluates the model on the rows of each source. Rank 0 gets the results, other ranks an empty list.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] if a rank was interrupted.
    pub(crate) fn evaluate(&self, evaluator: &Evaluator<'_>) -> Result<Vec<TaskResult>, RunError> {
        let mut results = Vec::new();
        for source in self.sources {
            evaluator.set_status();
            let shares = evaluator.gather(self.score_share(source, evaluator))?;
            if !evaluator.ranks.is_first() {
                continue;
            }
            let mut scores = SourceScores::default();
            for share in shares {
                scores.batches.extend(share.batches);
                scores.seconds += share.seconds / evaluator.ranks.size() as f64;
            }
            results.push(self.result(source, scores));
        }
        Ok(results)
    }

    fn score_share(
        &self,
        source: &ValidationSource,
        evaluator: &Evaluator<'_>,
    ) -> Result<SourceScores, Interrupted> {
        let start = Instant::now();
        let mut batches = BTreeMap::new();
        for (batch, numbers) in self.numbers(source).chunks(self.config.train.micro_batch_size).enumerate() {
            if !evaluator.share().takes(batch) {
                continue;
            }
            if (evaluator.interrupted)() {
                return Err(Interrupted);
            }
            let rows: Vec<_> = numbers.iter().map(|&number| source.row(number)).collect();
            batches.insert(batch, self.logprobs(&rows, evaluator.model));
        }
        Ok(SourceScores { batches, seconds: start.elapsed().as_secs_f64() })
    }

    fn result(&self, source: &ValidationSource, scores: SourceScores) -> TaskResult {
        let task: Arc<str> = format!("{}{}", ProbeRecord::VALIDATION, source.name()).into();
        let SourceScores { batches, seconds } = scores;
        let mut logprobs = batches.into_values().flatten();
        let of_row = |number| item(&task, number, &source.row(number), &mut logprobs);
        let items: Vec<ItemRow> = self.numbers(source).into_iter().map(of_row).collect();
        TaskResult {
            task: task.to_string(),
            domain: "language modelling".to_owned(),
            version: None,
            kind: TaskKind::Perplexity,
            n: items.len(),
            total: source.rows() as usize,
            shots: 0,
            chance: None,
            metrics: metrics(&items),
            non_finite: items.iter().filter(|item| !item.logprob.is_finite()).count(),
            items,
            representation: None,
            truncated: 0,
            seconds,
            provenance: Provenance {
                data: self.data_fingerprint.to_owned(),
                template: "rows of data.validation_share".to_owned(),
                tokenizer: self.tokenizer_fingerprint.to_owned(),
                scorer: "validation/2".to_owned(),
            },
        }
    }

    /// Returns the numbers of the rows to evaluate. They are the same in every run, and a smaller number of
    /// rows is a subset of a larger one.
    fn numbers(&self, source: &ValidationSource) -> Vec<u64> {
        let order = Permutation::new(0, "validation/rows", 0, source.rows());
        let count = source.rows().min(self.config.validation.rows as u64);
        let mut numbers: Vec<u64> = (0..count).map(|index| order.get(index)).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Computes the log-probabilities of the targets that count, row by row. The head is only applied to
    /// them.
    fn logprobs(&self, rows: &[ValidationRow], model: &Llama) -> Vec<f32> {
        let (device, time) = (model.device(), self.config.data.seq_len);
        let mut tokens = Vec::with_capacity(rows.len() * time);
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (number, ValidationRow { row, .. }) in rows.iter().enumerate() {
            tokens.extend(row.tokens[..time].iter().map(|id| id.cast_signed()));
            for (at, _) in row.target_mask.iter().enumerate().filter(|(_, counts)| **counts) {
                positions.push(((number * time + at) as u32).cast_signed());
                targets.push(row.tokens[at + 1].cast_signed());
            }
        }
        let attention_mask = if self.config.data.document_mask {
            AttentionMask::Spans(rows.iter().flat_map(|row| document_spans(&row.row)).collect())
        } else {
            AttentionMask::Causal
        };
        let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(tokens, [rows.len(), time]), &device);
        let hidden_btd = model.hidden(tokens_bt, &Positions::Sequential, &attention_mask);
        let width = hidden_btd.dims()[2];
        let count = targets.len();
        let positions_n = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device);
        let hidden_nd = hidden_btd.reshape([rows.len() * time, width]).select(0, positions_n);
        let targets_n = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &device);
        token_logprobs(hidden_nd, model.lm_head(), targets_n).logprob
    }
}

/// Returns a row as an item: the sums over its targets, whose log-probabilities are taken from the iterator.
/// Special tokens are targets, but have no bytes.
fn item(
    task: &Arc<str>,
    number: u64,
    row: &ValidationRow,
    logprobs: &mut impl Iterator<Item = f32>,
) -> ItemRow {
    let (mut logprob, mut byte_logprob, mut n_tokens) = (0.0, 0.0, 0);
    let targets = row.row.target_mask.iter().zip(&row.target_bytes).filter(|(counts, _)| **counts);
    for ((_, &bytes), target) in targets.zip(logprobs) {
        logprob += f64::from(target);
        byte_logprob += if bytes > 0 { f64::from(target) } else { 0.0 };
        n_tokens += 1;
    }
    ItemRow {
        logprob,
        byte_logprob: Some(byte_logprob),
        n_tokens,
        n_bytes: row.target_bytes.iter().sum(),
        ..ItemRow::new(task, TaskKind::Perplexity, number as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use fineline_data::Row;

    /// Targets: 3 bytes, an EOS, a BOS that doesn't count, 1 byte, padding.
    fn row() -> ValidationRow {
        let row = Row { target_mask: vec![true, true, false, true, false], ..Row::default() };
        ValidationRow { row, target_bytes: vec![3, 0, 0, 1, 0] }
    }

    #[test]
    fn special_tokens_are_tokens_and_no_bytes() {
        let task: Arc<str> = "validation/test".into();
        let mut logprobs = [-0.5_f32, -4.0, -1.5, -1.0, -8.0, -1.0].into_iter();
        let items = [0, 1].map(|number| item(&task, number, &row(), &mut logprobs));
        assert_eq!(logprobs.next(), None, "each row takes as many as it has targets");
        let value = |metric: &str| metrics(&items)[metric].value.unwrap();
        assert!((value("bits_per_byte") - 4.0 / 8.0 / 2.0_f64.ln()).abs() < 1e-12);
        assert!((value("byte_perplexity") - (4.0_f64 / 8.0).exp()).abs() < 1e-12);
        assert!((value("token_perplexity") - (16.0_f64 / 6.0).exp()).abs() < 1e-12);
    }

    #[test]
    fn a_special_token_that_is_not_finite_leaves_the_bytes_alone() {
        let task: Arc<str> = "validation/test".into();
        let items = [item(&task, 0, &row(), &mut [-0.5, f32::NEG_INFINITY, -1.5].into_iter())];
        let metrics = metrics(&items);
        assert_eq!(metrics["token_perplexity"].value, None);
        assert!(metrics["bits_per_byte"].value.is_some());
    }
}
