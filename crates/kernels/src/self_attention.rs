//! The self-attention block.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::add::add;
use crate::attention::attention;
use crate::attention_mask::AttentionMask;
use crate::cpu::{self, CpuKernels};
use crate::linear::linear;
use crate::precision::Numerics;
use crate::rms_norm::rms_norm;
use crate::rope::{RotaryTable, rope};

/// Weights of a self-attention block. Matrices are `[out, in]`.
#[derive(Clone, Debug)]
pub struct SelfAttentionWeights {
    /// Weight of the norm before the block, `[hidden]`.
    pub norm: Tensor<1>,
    /// `[heads · head_dim, hidden]`.
    pub q: Tensor<2>,
    /// `[kv_heads · head_dim, hidden]`.
    pub k: Tensor<2>,
    /// `[kv_heads · head_dim, hidden]`.
    pub v: Tensor<2>,
    /// `[hidden, heads · head_dim]`.
    pub out: Tensor<2>,
}

/// Self-attention block of the residual stream: `x + attention(q, k, v) outᵀ`. Queries, keys and values are
/// projections of [`rms_norm`] of `x`, `[batch, tokens, hidden]`. Queries and keys are rotated by [`rope`].
/// The head size is that of `rotary`.
///
/// Equals those operations in sequence, up to rounding, in fewer passes over memory.
#[must_use]
pub fn self_attention(
    x_btd: Tensor<3>,
    weights: SelfAttentionWeights,
    rotary: &RotaryTable,
    mask: &AttentionMask,
    numerics: Numerics,
) -> Tensor<3> {
    if !cpu::supports(&x_btd) {
        return portable(x_btd, weights, rotary, mask, numerics);
    }
    let (cos, sin) = rotary.tables();
    Tensor::from_dispatch(Dispatch::self_attention(
        x_btd.into_dispatch(),
        weights.norm.into_dispatch(),
        weights.q.into_dispatch(),
        weights.k.into_dispatch(),
        weights.v.into_dispatch(),
        weights.out.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        mask.clone(),
        numerics,
    ))
}

fn portable(
    x_btd: Tensor<3>,
    weights: SelfAttentionWeights,
    rotary: &RotaryTable,
    mask: &AttentionMask,
    numerics: Numerics,
) -> Tensor<3> {
    let [b, t, _] = x_btd.dims();
    let Numerics { eps, precision } = numerics;
    let normed_btd = rms_norm(x_btd.clone(), weights.norm, eps);
    let heads = |weight: Tensor<2>| {
        let heads = weight.dims()[0] / rotary.head_dim();
        linear(normed_btd.clone(), weight, precision).reshape([b, t, heads, rotary.head_dim()])
    };
    let (q_bthe, k_btke) = (rope(heads(weights.q), rotary), rope(heads(weights.k), rotary));
    let attention_bthe = attention(q_bthe, k_btke, heads(weights.v), mask, precision);
    add(x_btd, linear(attention_bthe.flatten(2, 3), weights.out, precision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention_mask::KeySpan;
    use crate::precision::Precision;
    use crate::testing::{
        BF16_TOLERANCE, check_bodies, check_bodies_within, check_gradients, device, random,
    };
    use burn::tensor::TensorData;

    fn inputs([b, t, d, h, k, e]: [usize; 6]) -> [TensorData; 6] {
        [[b, t, d], [1, 1, d], [1, h * e, d], [1, k * e, d], [1, k * e, d], [1, d, h * e]].map(|shape| {
            // Halved, so that softmax is smooth over the step of a finite difference.
            let values: Vec<f32> =
                random(shape, shape.iter().sum::<usize>() as u64).iter::<f32>().map(|x| x / 2.0).collect();
            TensorData::new(values, shape)
        })
    }

    type Body = fn(Tensor<3>, SelfAttentionWeights, &RotaryTable, &AttentionMask, Numerics) -> Tensor<3>;

    fn run(
        body: Body,
        time: usize,
        head_dim: usize,
        mask: AttentionMask,
        precision: Precision,
    ) -> impl Fn([Tensor<3>; 6]) -> Tensor<3> {
        let positions: Vec<u32> = (0..time as u32).collect();
        let rotary = RotaryTable::new(&positions, time, head_dim, 10_000.0, &device());
        move |[x, norm, q, k, v, out]| {
            let norm = norm.flatten(0, 2);
            let [q, k, v, out] = [q, k, v, out].map(|weight| weight.squeeze_dim(0));
            body(
                x,
                SelfAttentionWeights { norm, q, k, v, out },
                &rotary,
                &mask,
                Numerics { eps: 1e-5, precision },
            )
        }
    }

    fn halves(batch: usize, time: usize) -> AttentionMask {
        let own_start = |i: usize| if i < time / 2 { 0 } else { time as u32 / 2 };
        let row = (0..time).map(|i| KeySpan { prefix: 0..0, own_start: own_start(i) });
        AttentionMask::Spans((0..batch).flat_map(|_| row.clone()).collect())
    }

    #[test]
    fn gradients_match_finite_differences() {
        for mask in [AttentionMask::Causal, halves(2, 3)] {
            check_gradients(&inputs([2, 3, 4, 2, 1, 2]), run(self_attention, 3, 2, mask, Precision::F32));
        }
    }

    #[test]
    fn both_bodies_agree_in_bfloat16() {
        let ([b, t, d, h, k, e], bf16) = ([2, 70, 12, 6, 2, 10], Precision::Bf16Mixed);
        for mask in [AttentionMask::Causal, halves(b, t)] {
            let fast = run(self_attention, t, e, mask.clone(), bf16);
            check_bodies_within(
                BF16_TOLERANCE,
                &inputs([b, t, d, h, k, e]),
                fast,
                run(portable, t, e, mask, bf16),
            );
        }
    }

    #[test]
    fn both_bodies_agree() {
        for [b, t, d, h, k, e] in [[1, 1, 1, 1, 1, 2], [2, 70, 12, 6, 2, 10], [1, 129, 24, 3, 3, 8]] {
            for mask in [AttentionMask::Causal, halves(b, t)] {
                check_bodies(
                    &inputs([b, t, d, h, k, e]),
                    run(self_attention, t, e, mask.clone(), Precision::F32),
                    run(portable, t, e, mask, Precision::F32),
                );
            }
        }
    }
}
