//! CPU body of token log-probabilities.

use burn::{
    backend::{
        Flex,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{Int, Tensor},
};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::matmul::{Accumulate, MatmulThreads, Matrix, MatrixMut, matmul};
use super::tensor::{dims, indices, values};
use super::vector;
use crate::logits::{TokenScores, logits_chunk};

/// [`token_logprobs`](crate::token_logprobs) of tensors on the flex backend, without autodiff.
pub(crate) fn token_logprobs(hidden: Tensor<2>, lm_head: Tensor<2>, targets: Tensor<1, Int>) -> TokenScores {
    const ON_FLEX: &str = "the caller checked the backend";
    let hidden: FloatTensor<Flex> = hidden.try_into_primitive::<Flex>().expect(ON_FLEX).to_contiguous();
    let lm_head: FloatTensor<Flex> = lm_head.try_into_primitive::<Flex>().expect(ON_FLEX).to_contiguous();
    let targets: IntTensor<Flex> = targets.try_into_primitive::<Flex>().expect(ON_FLEX);
    let [vocab, width] = dims(&lm_head);
    let head_dv = Matrix::new(values(&lm_head), width).t();
    let rows = logits_chunk(vocab);
    let mut scores = TokenScores::default();
    for (hidden_nd, targets) in values(&hidden).chunks(rows * width).zip(indices(&targets).chunks(rows)) {
        let mut logits_nv = Buffer::new(targets.len() * vocab);
        let hidden_nd = Matrix::new(hidden_nd, width);
        matmul(
            MatrixMut::new(&mut logits_nv, vocab),
            hidden_nd,
            head_dv,
            Accumulate::Overwrite,
            MatmulThreads::All,
        );
        let scored = logits_nv.par_chunks(vocab).zip(targets).map(|(logits, &target)| score(logits, target));
        let (logprob, greedy): (Vec<f32>, Vec<bool>) = scored.unzip();
        scores.logprob.extend(logprob);
        scores.greedy.extend(greedy);
    }
    scores
}

/// Returns the log-probability of the target, and whether it is the first of the largest logits.
fn score(logits: &[f32], target: usize) -> (f32, bool) {
    let max = vector::max(logits);
    let logprob = logits[target] - max - vector::sum_exp(logits, max).ln();
    (logprob, logits[target] >= max && !logits[..target].contains(&logits[target]))
}
