//! Cross-entropy of next tokens, from hidden states.

use burn::{
    backend::Dispatch,
    tensor::{Int, Tensor, activation::log_softmax},
};

use crate::cpu::{self, CpuKernels};

/// Returns `Σ wᵢ · -log softmax(hiddenᵢ · headᵀ)[targetᵢ]` over `n` tokens, in nats, as a tensor of one
/// element.
///
/// The weights express both the mask and the reduction: `1/n` each gives the mean over tokens. A token of
/// weight zero contributes neither loss nor gradient.
///
/// `hidden` is `[n, hidden]`, `lm_head` is `[vocab, hidden]`, and `targets` and `weights` are `[n]`.
#[must_use]
pub fn cross_entropy(
    hidden_nd: Tensor<2>,
    lm_head_vd: Tensor<2>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> Tensor<1> {
    if cpu::supports(&hidden_nd) {
        return Tensor::from_dispatch(Dispatch::cross_entropy(
            hidden_nd.into_dispatch(),
            lm_head_vd.into_dispatch(),
            targets_n.into_dispatch(),
            weights_n.into_dispatch(),
        ));
    }
    portable(hidden_nd, lm_head_vd, targets_n, weights_n)
}

fn portable(
    hidden_nd: Tensor<2>,
    lm_head_vd: Tensor<2>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> Tensor<1> {
    let logits_nv = hidden_nd.matmul(lm_head_vd.transpose());
    let logprobs_n1 = log_softmax(logits_nv, 1).gather(1, targets_n.unsqueeze_dim(1));
    (logprobs_n1.squeeze_dim::<1>(1) * weights_n).sum().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_bodies, check_gradients, device, random};
    use burn::tensor::TensorData;

    #[test]
    fn is_the_weighted_sum_of_negative_log_probabilities() {
        let hidden = Tensor::<2>::from_data([[1.0], [0.0], [2.0]], &device());
        let head = Tensor::<2>::from_data([[0.0], [1.0]], &device());
        let targets = Tensor::<1, Int>::from_data([1, 0, 0], &device());
        let weights = Tensor::<1>::from_data([1.0, 0.5, 0.0], &device());
        let loss = cross_entropy(hidden, head, targets, weights).into_scalar::<f32>();
        let expected = (1.0 + (-1.0_f32).exp()).ln() + 0.5 * 2.0_f32.ln();
        assert!((loss - expected).abs() < 1e-6, "{loss} instead of {expected}");
    }

    #[test]
    fn gradients_match_finite_differences() {
        let targets = Tensor::<1, Int>::from_data([0, 6, 3, 3], &device());
        let weights = Tensor::<1>::from_data([0.5, 0.0, 0.25, 2.0], &device());
        check_gradients(&[random([1, 4, 5], 1), random([1, 7, 5], 2)], move |[hidden, head]| {
            cross_entropy(hidden.reshape([4, 5]), head.reshape([7, 5]), targets.clone(), weights.clone())
                .reshape([1, 1, 1])
        });
    }

    #[test]
    fn both_bodies_agree() {
        for [n, d, vocab] in [[1, 1, 1], [5, 3, 7], [40, 16, 60_000], [900, 8, 4096]] {
            let targets: Vec<u32> = (0..n).map(|i| (i * 31 % vocab) as u32).collect();
            let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [n]), &device());
            let weights: Vec<f32> = (0..n).map(|i| (i % 3) as f32 / 8.0).collect();
            let weights = Tensor::<1>::from_data(TensorData::new(weights, [n]), &device());
            let run = |f: fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Tensor<1>) -> Tensor<1>| {
                let (targets, weights) = (targets.clone(), weights.clone());
                move |[hidden, head]: [Tensor<3>; 2]| {
                    let loss =
                        f(hidden.reshape([n, d]), head.reshape([vocab, d]), targets.clone(), weights.clone());
                    loss.reshape([1, 1, 1])
                }
            };
            check_bodies(
                &[random([1, n, d], 1), random([1, vocab, d], 2)],
                run(cross_entropy),
                run(portable),
            );
        }
    }

    #[test]
    fn without_any_counted_token_there_is_no_loss() {
        let autodiff = device().autodiff();
        let hidden = Tensor::<2>::ones([2, 3], &autodiff).require_grad();
        let loss = cross_entropy(
            hidden.clone(),
            Tensor::ones([5, 3], &autodiff),
            Tensor::from_data([0, 1], &autodiff),
            Tensor::zeros([2], &autodiff),
        );
        let gradient = hidden.grad(&loss.backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(|x| x == 0.0));
        assert!(loss.into_scalar::<f32>() == 0.0);
    }

    #[test]
    fn a_nan_is_not_hidden() {
        let hidden = Tensor::<2>::from_data([[1.0], [f32::NAN]], &device());
        let head = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device());
        let loss =
            cross_entropy(hidden, head, Tensor::from_data([0, 1], &device()), Tensor::ones([2], &device()));
        assert!(loss.into_scalar::<f32>().is_nan());
    }
}
