//! The linear layer, without a bias.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::cpu::{self, CpuKernels};
use crate::precision::Precision;

/// Returns `x · Wᵀ` for a weight in the layout of checkpoints.
///
/// `x` is `[batch, tokens, in]`, `weight` is `[out, in]`, and the result is `[batch, tokens, out]`.
#[must_use]
pub fn linear(x_bti: Tensor<3>, weight_oi: Tensor<2>, precision: Precision) -> Tensor<3> {
    if cpu::supports(&x_bti) {
        let (x, weight) = (x_bti.into_dispatch(), weight_oi.into_dispatch());
        return Tensor::from_dispatch(Dispatch::linear(x, weight, precision));
    }
    portable(x_bti, weight_oi, precision)
}

fn portable(x_bti: Tensor<3>, weight_oi: Tensor<2>, precision: Precision) -> Tensor<3> {
    let [batch, time, width] = x_bti.dims();
    let [out, _] = weight_oi.dims();
    let x_ni = x_bti.reshape([batch * time, width]);
    precision.matmul(x_ni, weight_oi.transpose()).reshape([batch, time, out])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        BF16_TOLERANCE, assert_close, check_bodies, check_bodies_within, check_gradients, device, random,
    };

    #[test]
    fn multiplies_by_rows_of_the_weight() {
        let x = Tensor::<3>::from_data([[[1.0, 2.0], [3.0, 4.0]]], &device());
        let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], &device());
        let expected = Tensor::<3>::from_data([[[1.0, 2.0, -1.0], [3.0, 4.0, -1.0]]], &device());
        assert_close(&linear(x, weight, Precision::F32), &expected, 0.0);
    }

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&[random([2, 3, 5], 1), random([1, 7, 5], 2)], |[x, weight]| {
            linear(x, weight.reshape([7, 5]), Precision::F32)
        });
    }

    #[test]
    fn both_bodies_agree_in_bfloat16() {
        for [n, i, o] in [[1, 1, 1], [7, 13, 5], [130, 100, 67]] {
            check_bodies_within(
                BF16_TOLERANCE,
                &[random([1, n, i], 1), random([1, o, i], 2)],
                |[x, w]| linear(x, w.reshape([o, i]), Precision::Bf16Mixed),
                |[x, w]| portable(x, w.reshape([o, i]), Precision::Bf16Mixed),
            );
        }
    }

    /// 1 + 2⁻⁸ is halfway between two bfloat16 values and rounds down to the even one. 1 + 3 · 2⁻⁸ is halfway
    /// too, and rounds up.
    #[test]
    fn factors_are_rounded_to_bfloat16() {
        let x = Tensor::<3>::from_data([[[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.0 / 3.0]]], &device());
        let one_by_one = Tensor::<2>::eye(3, &device());
        let expected = Tensor::<3>::from_data([[[1.0, 1.0 + 4.0 / 256.0, 0.333_984_375]]], &device());
        assert_close(&linear(x, one_by_one, Precision::Bf16Mixed), &expected, 0.0);
    }

    #[test]
    fn both_bodies_agree() {
        for [n, i, o] in [[1, 1, 1], [7, 13, 5], [130, 100, 67], [512, 128, 96]] {
            check_bodies(
                &[random([1, n, i], 1), random([1, o, i], 2)],
                |[x, w]| linear(x, w.reshape([o, i]), Precision::F32),
                |[x, w]| portable(x, w.reshape([o, i]), Precision::F32),
            );
        }
    }
}
