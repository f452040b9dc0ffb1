//! The SwiGLU activation.

use burn::{
    backend::Dispatch,
    tensor::{Tensor, activation::silu},
};

use crate::cpu::{self, CpuKernels};

/// Returns `silu(gate) · up`, elementwise (Shazeer, "GLU Variants Improve Transformer", 2020).
#[must_use]
pub fn swiglu(gate_btf: Tensor<3>, up_btf: Tensor<3>) -> Tensor<3> {
    if cpu::supports(&gate_btf) {
        return Tensor::from_dispatch(Dispatch::swiglu(gate_btf.into_dispatch(), up_btf.into_dispatch()));
    }
    portable(gate_btf, up_btf)
}

fn portable(gate_btf: Tensor<3>, up_btf: Tensor<3>) -> Tensor<3> {
    silu(gate_btf) * up_btf
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};

    #[test]
    fn large_gates_neither_overflow_nor_vanish() {
        let gate = Tensor::<3>::from_data([[[-200.0, -1.0, 0.0, 1.0, 200.0]]], &device());
        let up = Tensor::ones([1, 1, 5], &device());
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected = Tensor::<3>::from_data([[[0.0, -sigmoid(-1.0), 0.0, sigmoid(1.0), 200.0]]], &device());
        assert_close(&swiglu(gate, up), &expected, 1e-6);
    }

    #[test]
    fn gradients_match_finite_differences() {
        check_gradients(&[random([2, 3, 5], 1), random([2, 3, 5], 2)], |[gate, up]| swiglu(gate, up));
    }

    #[test]
    fn both_bodies_agree() {
        for shape in [[1, 1, 1], [2, 3, 5], [3, 70, 344]] {
            check_bodies(
                &[random(shape, 1), random(shape, 2)],
                |[g, u]| swiglu(g, u),
                |[g, u]| portable(g, u),
            );
        }
    }
}
