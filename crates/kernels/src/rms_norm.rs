//! RMS normalization.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::cpu::{self, CpuKernels};

/// Returns `x / rms(x) · weight` over the last dimension (Zhang and Sennrich, 2019). `x` is `[batch, tokens,
/// hidden]`, and `weight` is `[hidden]`.
///
/// `eps` is added to the mean square, as in Hugging Face's reference implementation.
#[must_use]
pub fn rms_norm(x_btd: Tensor<3>, weight_d: Tensor<1>, eps: f64) -> Tensor<3> {
    if cpu::supports(&x_btd) {
        return Tensor::from_dispatch(Dispatch::rms_norm(
            x_btd.into_dispatch(),
            weight_d.into_dispatch(),
            eps,
        ));
    }
    portable(x_btd, weight_d, eps)
}

fn portable(x_btd: Tensor<3>, weight_d: Tensor<1>, eps: f64) -> Tensor<3> {
    let mean_square = x_btd.clone().square().mean_dim(2);
    let scale = mean_square.add_scalar(eps).sqrt().recip();
    x_btd * scale * weight_d.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};

    #[test]
    fn divides_by_the_root_mean_square() {
        let x = Tensor::<3>::from_data([[[3.0, -4.0]]], &device());
        let weight = Tensor::<1>::from_data([1.0, 2.0], &device());
        let rms = (12.5_f32 + 1e-6).sqrt();
        let expected = Tensor::<3>::from_data([[[3.0 / rms, -8.0 / rms]]], &device());
        assert_close(&rms_norm(x, weight, 1e-6), &expected, 1e-6);
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let x = Tensor::<3>::zeros([1, 1, 6], &device());
        let y = rms_norm(x.clone(), Tensor::ones([6], &device()), 1e-6);
        assert_close(&y, &x, 0.0);
    }

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&[random([2, 3, 5], 1), random([1, 1, 5], 2)], |[x, weight]| {
            rms_norm(x, weight.reshape([5]), 1e-5)
        });
    }

    #[test]
    fn both_bodies_agree() {
        for [b, t, d] in [[1, 1, 1], [2, 3, 5], [3, 67, 100], [1, 200, 33]] {
            check_bodies(
                &[random([b, t, d], 1), random([1, 1, d], 2)],
                |[x, w]| rms_norm(x, w.reshape([d]), 1e-6),
                |[x, w]| portable(x, w.reshape([d]), 1e-6),
            );
        }
    }
}
