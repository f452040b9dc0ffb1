//! CPU body of the cross-entropy, by chunks of tokens.

use burn::{backend::Flex, backend::tensor::IntTensor};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::matmul::{Accumulate, MatmulThreads, Matrix, MatrixMut, matmul};
use super::operation::CpuOp;
use super::tensor::{CpuTensor, dims, indices, tensor, values};
use super::vector::{self, exp_and_sum};
use crate::logits::logits_chunk;

/// [`cross_entropy`](crate::cross_entropy), a chunk of tokens at a time, so that the logits of all tokens
/// never exist at once.
///
/// `dlogits = w (softmax - onehot)` is available as soon as the loss is. The forward pass therefore computes
/// the gradients too, and the backward pass only multiplies them by the gradient of the loss. Tokens of
/// weight zero are skipped in all matmuls.
#[derive(Clone, Debug)]
pub(super) struct CrossEntropy {
    /// Tokens of nonzero weight: index, target and weight.
    counted: Vec<(usize, usize, f32)>,
}

impl CrossEntropy {
    pub(super) fn new(targets: &IntTensor<Flex>, weights: &CpuTensor) -> Self {
        let weights = weights.to_contiguous();
        let tokens = indices(targets).into_iter().zip(values(&weights)).enumerate();
        let counted = tokens.map(|(index, (target, &weight))| (index, target, weight));
        Self { counted: counted.filter(|&(_, _, weight)| weight != 0.0).collect() }
    }

    /// Calls `visit` with the tokens, hidden states and logits of each chunk.
    fn for_each_chunk(
        &self,
        hidden: &CpuTensor,
        lm_head: &CpuTensor,
        mut visit: impl FnMut(&[(usize, usize, f32)], &[f32], &mut [f32]),
    ) {
        let [vocab, width] = dims(lm_head);
        let rows = logits_chunk(vocab).min(self.counted.len().max(1));
        let mut hidden_nd = Buffer::new(rows * width);
        let mut logits_nv = Buffer::new(rows * vocab);
        for counted in self.counted.chunks(rows) {
            let hidden_nd = &mut hidden_nd[..counted.len() * width];
            for (&(index, _, _), row) in counted.iter().zip(hidden_nd.chunks_exact_mut(width)) {
                row.copy_from_slice(&values(hidden)[index * width..][..width]);
            }
            let logits_nv = &mut logits_nv[..counted.len() * vocab];
            let head_dv = Matrix::new(values(lm_head), width).t();
            let hidden = Matrix::new(hidden_nd, width);
            matmul(
                MatrixMut::new(logits_nv, vocab),
                hidden,
                head_dv,
                Accumulate::Overwrite,
                MatmulThreads::All,
            );
            visit(counted, hidden_nd, logits_nv);
        }
    }
}

impl CpuOp<2> for CrossEntropy {
    /// Gradients of the hidden states and of the head for a loss gradient of one.
    type Saved = [CpuTensor; 2];

    fn forward(&self, inputs: [CpuTensor; 2]) -> CpuTensor {
        let [hidden, lm_head] = inputs.map(|input| input.to_contiguous());
        let [vocab, _] = dims(&lm_head);
        let mut loss = 0.0;
        self.for_each_chunk(&hidden, &lm_head, |counted, _, logits| {
            let rows = counted.par_iter().zip(logits.par_chunks(vocab));
            loss += sum(rows.map(|(&(_, target, weight), logits)| {
                let max = vector::max(logits);
                weight * (max + vector::sum_exp(logits, max).ln() - logits[target])
            }));
        });
        tensor(vec![loss as f32], [1])
    }

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [hidden, lm_head] = inputs.map(|input| input.to_contiguous());
        let [vocab, width] = dims(&lm_head);
        let mut loss = 0.0;
        let mut dhidden = Buffer::zeros(values(&hidden).len());
        let mut dhead = Buffer::new(vocab * width);
        let mut accumulate = Accumulate::Overwrite;
        self.for_each_chunk(&hidden, &lm_head, |counted, hidden_nd, logits| {
            let rows = counted.par_iter().zip(logits.par_chunks_mut(vocab));
            loss += sum(rows.map(|(&(_, target, weight), logits)| gradients(logits, target, weight)));
            let dlogits_nv = Matrix::new(logits, vocab);
            let mut dhidden_nd = Buffer::new(counted.len() * width);
            let head_vd = Matrix::new(values(&lm_head), width);
            matmul(
                MatrixMut::new(&mut dhidden_nd, width),
                dlogits_nv,
                head_vd,
                Accumulate::Overwrite,
                MatmulThreads::All,
            );
            let hidden_nd = Matrix::new(hidden_nd, width);
            matmul(
                MatrixMut::new(&mut dhead, width),
                dlogits_nv.t(),
                hidden_nd,
                accumulate,
                MatmulThreads::All,
            );
            accumulate = Accumulate::Add;
            for (&(index, _, _), row) in counted.iter().zip(dhidden_nd.chunks_exact(width)) {
                dhidden[index * width..][..width].copy_from_slice(row);
            }
        });
        if accumulate == Accumulate::Overwrite {
            dhead.fill(0.0);
        }
        let [dhidden, dhead] = [(dhidden, &hidden), (dhead, &lm_head)]
            .map(|(gradient, like)| gradient.into_tensor(like.layout().shape().clone()));
        (tensor(vec![loss as f32], [1]), [dhidden, dhead])
    }

    fn backward(&self, saved: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let factor = values(&gradient.to_contiguous())[0];
        saved.map(|mut gradient| {
            if factor.to_bits() != 1.0_f32.to_bits() {
                gradient
                    .storage_mut::<f32>()
                    .par_chunks_mut(1 << 16)
                    .for_each(|block| vector::scale(block, factor));
            }
            gradient
        })
    }
}

/// Replaces the logits of one token by their gradients, and returns its loss.
fn gradients(logits: &mut [f32], target: usize, weight: f32) -> f32 {
    let target_logit = logits[target];
    let max = vector::max(logits);
    let sum = exp_and_sum(logits, max);
    vector::scale(logits, weight / sum);
    logits[target] -= weight;
    weight * (max + sum.ln() - target_logit)
}

/// Sums losses in order, in float64.
fn sum(losses: impl IndexedParallelIterator<Item = f32>) -> f64 {
    losses.collect::<Vec<f32>>().into_iter().map(f64::from).sum()
}
