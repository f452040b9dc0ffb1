//! Log-probabilities of given tokens.

use burn::tensor::{Int, Tensor};

use crate::cpu;
use crate::logits::TokenScores;

/// Number of logits held at a time: 16 MiB.
const CHUNK_LOGITS: usize = 1 << 22;

/// Scores `targets` under `softmax(hidden · headᵀ)`. Records no graph, and holds the logits of one chunk of
/// rows at a time.
///
/// `hidden` is `[n, hidden]`, `lm_head` is `[vocab, hidden]`, and `targets` is `[n]`. The score of a row
/// depends on the other rows through rounding only.
#[must_use]
pub fn token_logprobs(hidden_nd: Tensor<2>, lm_head_vd: Tensor<2>, targets_n: Tensor<1, Int>) -> TokenScores {
    let (hidden_nd, lm_head_vd) = (hidden_nd.without_autodiff(), lm_head_vd.without_autodiff());
    let targets_n = targets_n.without_autodiff();
    if cpu::supports(&hidden_nd) {
        return cpu::token_logprobs(hidden_nd, lm_head_vd, targets_n);
    }
    portable(&hidden_nd, lm_head_vd, &targets_n)
}

fn portable(hidden_nd: &Tensor<2>, lm_head_vd: Tensor<2>, targets_n: &Tensor<1, Int>) -> TokenScores {
    let [rows, _] = hidden_nd.dims();
    let [vocab, _] = lm_head_vd.dims();
    let head_dv = lm_head_vd.transpose();
    let chunk = (CHUNK_LOGITS / vocab).max(1);
    let mut scores = TokenScores::default();
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let logits_nv = hidden_nd.clone().narrow(0, start, len).matmul(head_dv.clone());
        let targets_n1 = targets_n.clone().narrow(0, start, len).unsqueeze_dim::<2>(1);
        let (max_n1, argmax_n1) = logits_nv.clone().max_dim_with_indices(1);
        let target_n1 = logits_nv.clone().gather(1, targets_n1.clone());
        let log_sum_n1 = (logits_nv - max_n1.clone()).exp().sum_dim(1).log();
        let logprob_n1 = target_n1 - max_n1 - log_sum_n1;
        scores.logprob.extend(logprob_n1.into_data().iter::<f32>());
        scores.greedy.extend(argmax_n1.equal(targets_n1).into_data().iter::<bool>());
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cross_entropy::cross_entropy;
    use crate::testing::{device, random};

    #[test]
    fn agrees_with_the_loss_and_the_argmax() {
        let hidden = Tensor::<3>::from_data(random([1, 9, 5], 1), &device()).reshape([9, 5]);
        let head = Tensor::<3>::from_data(random([1, 11, 5], 2), &device()).reshape([11, 5]);
        let targets = Tensor::<1, Int>::from_data([0, 1, 2, 3, 4, 5, 6, 10, 8], &device());
        let scores = token_logprobs(hidden.clone(), head.clone(), targets.clone());
        let loss = cross_entropy(hidden.clone(), head.clone(), targets.clone(), Tensor::ones([9], &device()));
        let total: f32 = scores.logprob.iter().sum();
        assert!((total + loss.into_scalar::<f32>()).abs() < 1e-4);
        let argmax = hidden.matmul(head.transpose()).argmax(1).squeeze_dim::<1>(1);
        let expected: Vec<bool> = argmax.equal(targets).into_data().iter::<bool>().collect();
        assert_eq!(scores.greedy, expected);
    }

    #[test]
    fn of_equal_logits_the_first_is_greedy() {
        let hidden = Tensor::<2>::ones([3, 2], &device());
        let head = Tensor::<2>::from_data([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], &device());
        let scores = token_logprobs(hidden, head, Tensor::from_data([0, 1, 2], &device()));
        assert_eq!(scores.greedy, [false, true, false]);
    }

    #[test]
    fn no_rows_give_no_scores() {
        let scores = token_logprobs(
            Tensor::zeros([0, 2], &device()),
            Tensor::zeros([3, 2], &device()),
            Tensor::from_data(burn::tensor::TensorData::new(Vec::<i64>::new(), [0]), &device()),
        );
        assert_eq!(scores, TokenScores::default());
    }

    #[test]
    fn both_bodies_agree() {
        // More rows than a chunk, which holds 256 of these.
        let (rows, vocab) = (600, 4096);
        let hidden = Tensor::<3>::from_data(random([1, rows, 5], 1), &device()).reshape([rows, 5]);
        let head = Tensor::<3>::from_data(random([1, vocab, 5], 2), &device()).reshape([vocab, 5]);
        let targets = hidden.clone().matmul(head.clone().transpose()).argmax(1).squeeze_dim::<1>(1);
        let fast = token_logprobs(hidden.clone(), head.clone(), targets.clone());
        let expected = portable(&hidden, head, &targets);
        assert_eq!([fast.greedy.len(), fast.logprob.len()], [rows; 2]);
        assert!(fast.greedy.iter().all(|&greedy| greedy));
        assert!(fast.logprob.iter().zip(&expected.logprob).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
