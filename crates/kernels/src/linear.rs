use burn::{backend::Dispatch, tensor::Tensor};

use crate::cpu::{self, CpuKernels};

/// `x · Wᵀ` for a weight in the layout checkpoints store.
///
/// `x` is `[batch, time, in]`, `weight` `[out, in]`; the result is `[batch, time, out]`.
#[must_use]
pub fn linear(x_bti: Tensor<3>, weight_oi: Tensor<2>) -> Tensor<3> {
    if cpu::takes(&x_bti) {
        return Tensor::from_dispatch(Dispatch::linear(x_bti.into_dispatch(), weight_oi.into_dispatch()));
    }
    portable(x_bti, weight_oi)
}

fn portable(x_bti: Tensor<3>, weight_oi: Tensor<2>) -> Tensor<3> {
    let [batch, time, width] = x_bti.dims();
    let [out, _] = weight_oi.dims();
    x_bti.reshape([batch * time, width]).matmul(weight_oi.transpose()).reshape([batch, time, out])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};

    #[test]
    fn multiplies_by_rows_of_the_weight() {
        let x = Tensor::<3>::from_data([[[1.0, 2.0], [3.0, 4.0]]], &device());
        let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], &device());
        let expected = Tensor::<3>::from_data([[[1.0, 2.0, -1.0], [3.0, 4.0, -1.0]]], &device());
        assert_close(&linear(x, weight), &expected, 0.0);
    }

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&[random([2, 3, 5], 1), random([1, 7, 5], 2)], |[x, weight]| {
            linear(x, weight.reshape([7, 5]))
        });
    }

    #[test]
    fn both_bodies_agree() {
        for [n, i, o] in [[1, 1, 1], [7, 13, 5], [130, 100, 67], [512, 128, 96]] {
            check_bodies(
                &[random([1, n, i], 1), random([1, o, i], 2)],
                |[x, w]| linear(x, w.reshape([o, i])),
                |[x, w]| portable(x, w.reshape([o, i])),
            );
        }
    }
}
