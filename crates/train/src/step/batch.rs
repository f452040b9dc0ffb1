//! Micro-batches: the rows of a step as tensors, with the weight of each token in the loss of the step.
//!
//! Shapes: b batch, t time, n = b * t tokens, row-major.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fineline_data::Row;
use fineline_kernels::{AttentionMask, KeySpan};

use crate::train_config::LossReduction;

/// The input of one forward and backward pass.
pub(crate) struct MicroBatch {
    pub(crate) tokens_bt: Tensor<2, Int>,
    pub(crate) targets_n: Tensor<1, Int>,
    pub(crate) weights_n: Tensor<1>,
    pub(crate) attention_mask: AttentionMask,
}

impl MicroBatch {
    /// Builds a micro-batch from rows of equal length and the weights of their targets, one per input token.
    pub(crate) fn new(rows: &[Row], weights: &[f32], document_mask: bool, device: &Device) -> Self {
        let time = rows[0].target_mask.len();
        let collect_ids = |select: fn(&Row) -> &[u32]| -> Vec<i32> {
            rows.iter().flat_map(select).map(|&id| id.cast_signed()).collect()
        };
        let tokens =
            TensorData::new(collect_ids(|row| &row.tokens[..row.tokens.len() - 1]), [rows.len(), time]);
        let targets = TensorData::new(collect_ids(|row| &row.tokens[1..]), [rows.len() * time]);
        let attention_mask = if document_mask {
            AttentionMask::Spans(rows.iter().flat_map(document_spans).collect())
        } else {
            AttentionMask::Causal
        };
        Self {
            tokens_bt: Tensor::from_data(tokens, device),
            targets_n: Tensor::from_data(targets, device),
            weights_n: Tensor::from_data(weights, device),
            attention_mask,
        }
    }
}

/// Returns the index of the first row that doesn't fit the model, with the reason.
pub(crate) fn find_invalid_row(rows: &[Row], seq_len: usize, vocab_size: usize) -> Option<(usize, String)> {
    rows.iter().enumerate().find_map(|(at, row)| {
        let lengths = [row.tokens.len(), row.target_mask.len() + 1, row.documents.len() + 1];
        if lengths != [seq_len + 1; 3] {
            let reason = format!(
                "expected {} tokens with {seq_len} mask and document entries, got {}, {} and {}",
                seq_len + 1,
                row.tokens.len(),
                row.target_mask.len(),
                row.documents.len()
            );
            return Some((at, reason));
        }
        let unknown = row.tokens.iter().find(|&&token| token as usize >= vocab_size)?;
        Some((
            at,
            format!(
                "token id {unknown} is not below model.vocab_size ({vocab_size}); check that the data was \
                 prepared with the model's tokenizer"
            ),
        ))
    })
}

/// Returns the number of targets of these rows that aren't masked.
pub(crate) fn count_targets(rows: &[Row]) -> usize {
    rows.iter().map(count_row_targets).sum()
}

fn count_row_targets(row: &Row) -> usize {
    row.target_mask.iter().filter(|&&counts| counts).count()
}

/// The counts that the loss of a step is averaged over, on all ranks together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchTotals {
    /// Number of targets that aren't masked.
    pub(crate) targets: usize,
    /// Number of rows.
    pub(crate) rows: usize,
}

/// Returns the weight of each target in the loss of the step, `[rows * time]`: 0 where it is masked. The
/// weights of the whole batch sum to 1, so that the losses and gradients of micro-batches sum to those of the
/// batch.
pub(crate) fn loss_weights(rows: &[Row], reduction: LossReduction, batch: BatchTotals) -> Vec<f32> {
    let mut weights = Vec::with_capacity(rows.iter().map(|row| row.target_mask.len()).sum());
    for row in rows {
        let divisor = match reduction {
            LossReduction::TokenMean => batch.targets,
            LossReduction::SequenceMean => count_row_targets(row) * batch.rows,
        };
        let weight = (1.0 / divisor.max(1) as f64) as f32;
        weights.extend(row.target_mask.iter().map(|&counts| if counts { weight } else { 0.0 }));
    }
    weights
}

/// Returns the document mask of a row: each input token attends to its own document only, from its start.
#[must_use]
pub fn document_spans(row: &Row) -> Vec<KeySpan> {
    let mut own_start = 0;
    (0..row.documents.len())
        .map(|at| {
            if at > 0 && row.documents[at] != row.documents[at - 1] {
                own_start = at as u32;
            }
            KeySpan { prefix: 0..0, own_start }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mask: &[u8], documents: &[u32]) -> Row {
        Row {
            tokens: (0..=mask.len() as u32).collect(),
            target_mask: mask.iter().map(|&bit| bit == 1).collect(),
            documents: documents.to_vec(),
        }
    }

    /// The weights of rows that form the whole batch.
    fn weights(rows: &[Row], reduction: LossReduction) -> Vec<f32> {
        loss_weights(rows, reduction, BatchTotals { targets: count_targets(rows), rows: rows.len() })
    }

    #[test]
    fn token_mean_weights_targets_equally() {
        let rows = [row(&[1, 1, 0], &[0; 3]), row(&[0, 1, 1], &[0; 3])];
        assert_eq!(weights(&rows, LossReduction::TokenMean), [0.25, 0.25, 0.0, 0.0, 0.25, 0.25]);
    }

    #[test]
    fn sequence_mean_weights_sequences_equally() {
        let rows =
            [row(&[1, 1], &[0; 2]), row(&[0, 1], &[0; 2]), row(&[0, 0], &[0; 2]), row(&[1, 0], &[0; 2])];
        let weights = weights(&rows, LossReduction::SequenceMean);
        assert_eq!(weights, [0.125, 0.125, 0.0, 0.25, 0.0, 0.0, 0.25, 0.0]);
    }

    #[test]
    fn rows_without_targets_do_not_divide_by_zero() {
        for reduction in [LossReduction::TokenMean, LossReduction::SequenceMean] {
            assert_eq!(weights(&[row(&[0, 0], &[0; 2])], reduction), [0.0; 2]);
            assert_eq!(weights(&[], reduction), [] as [f32; 0]);
        }
    }

    #[test]
    fn documents_start_where_their_number_changes() {
        let starts = |documents: &[u32]| -> Vec<u32> {
            document_spans(&row(&vec![1; documents.len()], documents))
                .iter()
                .map(|span| span.own_start)
                .collect()
        };
        assert_eq!(starts(&[0, 0, 1, 1, 1, 2]), [0, 0, 2, 2, 2, 5]);
        assert_eq!(starts(&[7, 7]), [0, 0]);
        assert_eq!(starts(&[]), [] as [u32; 0]);
    }

    #[test]
    fn invalid_rows_are_found() {
        let good = row(&[1, 1], &[0, 0]);
        assert_eq!(find_invalid_row(std::slice::from_ref(&good), 2, 3), None);
        let (at, reason) = find_invalid_row(&[good.clone(), row(&[1], &[0])], 2, 3).unwrap();
        assert!(at == 1 && reason.starts_with("expected 3 tokens"), "{reason}");
        let (at, reason) = find_invalid_row(&[good], 2, 2).unwrap();
        assert!(at == 0 && reason.contains("token id 2"), "{reason}");
    }
}
