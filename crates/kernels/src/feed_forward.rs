//! The feed-forward block.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::add::add;
use crate::cpu::{self, CpuKernels};
use crate::linear::linear;
use crate::precision::Numerics;
use crate::rms_norm::rms_norm;
use crate::swiglu::swiglu;

/// Weights of a feed-forward block. Matrices are `[out, in]`.
#[derive(Clone, Debug)]
pub struct FeedForwardWeights {
    /// Weight of the norm before the block, `[hidden]`.
    pub norm: Tensor<1>,
    /// `[intermediate, hidden]`.
    pub gate: Tensor<2>,
    /// `[intermediate, hidden]`.
    pub up: Tensor<2>,
    /// `[hidden, intermediate]`.
    pub down: Tensor<2>,
}

/// Feed-forward block of the residual stream: `x + (swish(n gateᵀ) · n upᵀ) downᵀ`, where `n` is [`rms_norm`]
/// of `x`, `[batch, tokens, hidden]`.
///
/// Equals [`rms_norm`], [`linear`], [`swiglu`] and [`add`] in sequence, up to rounding, in fewer passes over
/// memory.
#[must_use]
pub fn feed_forward(x_btd: Tensor<3>, weights: FeedForwardWeights, numerics: Numerics) -> Tensor<3> {
    if !cpu::supports(&x_btd) {
        return portable(x_btd, weights, numerics);
    }
    Tensor::from_dispatch(Dispatch::feed_forward(
        x_btd.into_dispatch(),
        weights.norm.into_dispatch(),
        weights.gate.into_dispatch(),
        weights.up.into_dispatch(),
        weights.down.into_dispatch(),
        numerics,
    ))
}

fn portable(x_btd: Tensor<3>, weights: FeedForwardWeights, numerics: Numerics) -> Tensor<3> {
    let Numerics { eps, precision } = numerics;
    let normed_btd = rms_norm(x_btd.clone(), weights.norm, eps);
    let gated_btf = swiglu(
        linear(normed_btd.clone(), weights.gate, precision),
        linear(normed_btd, weights.up, precision),
    );
    add(x_btd, linear(gated_btf, weights.down, precision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{BF16_TOLERANCE, check_bodies, check_bodies_within, check_gradients, random};
    use burn::tensor::TensorData;

    fn inputs([b, t, d, f]: [usize; 4]) -> [TensorData; 5] {
        [[b, t, d], [1, 1, d], [1, f, d], [1, f, d], [1, d, f]]
            .map(|shape| random(shape, shape.iter().sum::<usize>() as u64))
    }

    fn run(
        body: fn(Tensor<3>, FeedForwardWeights, Numerics) -> Tensor<3>,
        precision: Precision,
    ) -> impl Fn([Tensor<3>; 5]) -> Tensor<3> {
        move |[x, norm, gate, up, down]| {
            let norm = norm.flatten(0, 2);
            let [gate, up, down] = [gate, up, down].map(|weight| weight.squeeze_dim(0));
            body(x, FeedForwardWeights { norm, gate, up, down }, Numerics { eps: 1e-5, precision })
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&inputs([2, 3, 4, 5]), run(feed_forward, Precision::F32));
    }

    #[test]
    fn both_bodies_agree_in_bfloat16() {
        let bf16 = Precision::Bf16Mixed;
        for shape in [[2, 3, 5, 7], [3, 67, 32, 88]] {
            check_bodies_within(BF16_TOLERANCE, &inputs(shape), run(feed_forward, bf16), run(portable, bf16));
        }
    }

    #[test]
    fn both_bodies_agree() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 67, 32, 88]] {
            check_bodies(&inputs(shape), run(feed_forward, Precision::F32), run(portable, Precision::F32));
        }
    }
}
