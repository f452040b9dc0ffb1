//! Addition to the residual stream.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::cpu::{self, CpuKernels};

/// Returns `x + y`, both `[batch, tokens, hidden]`: adds a block's output to the residual stream.
///
/// # Panics
/// If the shapes differ.
#[must_use]
pub fn add(x_btd: Tensor<3>, y_btd: Tensor<3>) -> Tensor<3> {
    assert_eq!(x_btd.dims(), y_btd.dims(), "shapes of the summands");
    if cpu::supports(&x_btd) {
        return Tensor::from_dispatch(Dispatch::add_tensors(x_btd.into_dispatch(), y_btd.into_dispatch()));
    }
    portable(x_btd, y_btd)
}

fn portable(x_btd: Tensor<3>, y_btd: Tensor<3>) -> Tensor<3> {
    x_btd + y_btd
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_bodies, check_gradients, random};

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&[random([2, 3, 5], 1), random([2, 3, 5], 2)], |[x, y]| add(x, y));
        check_gradients(&[random([1, 2, 3], 1)], |[x]| add(x.clone(), x));
    }

    #[test]
    fn both_bodies_agree() {
        for shape in [[1, 1, 1], [2, 3, 5], [3, 100, 129]] {
            check_bodies(&[random(shape, 1), random(shape, 2)], |[x, y]| add(x, y), |[x, y]| portable(x, y));
        }
    }
}
