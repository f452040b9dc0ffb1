//! CPU body of the SwiGLU activation.

use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::operation::CpuOp;
use super::tensor::{CpuTensor, values};
use super::vector::sigmoid;

/// [`swiglu`](crate::swiglu): `y = g σ(g) u`, so `du = dy g σ(g)` and `dg = dy u σ(g) (1 + g (1 - σ(g)))`.
#[derive(Clone, Debug)]
pub(super) struct SwiGlu;

/// Number of values per task.
const BLOCK: usize = 1 << 14;

impl CpuOp<2> for SwiGlu {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [gate, up] = inputs.map(|input| input.to_contiguous());
        let y = gated(values(&gate), values(&up));
        (y.into_tensor(gate.layout().shape().clone()), [gate, up])
    }

    fn backward(&self, [mut gate, mut up]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let mut gradient = gradient.to_contiguous();
        gradients(gate.storage_mut(), up.storage_mut(), gradient.storage_mut());
        [gate, up]
    }
}

/// Returns `g σ(g) u`.
pub(super) fn gated(gate: &[f32], up: &[f32]) -> Buffer {
    let mut y = Buffer::new(gate.len());
    y.par_chunks_mut(BLOCK)
        .zip(gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK)))
        .for_each(|(y, (gate, up))| gate_block(y, gate, up));
    y
}

/// Replaces gate and up by their gradients, and the gradient of the result by the result, which the backward
/// pass of `down` needs.
pub(super) fn gradients(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    let blocks = gate.par_chunks_mut(BLOCK).zip(up.par_chunks_mut(BLOCK));
    blocks.zip(dy.par_chunks_mut(BLOCK)).for_each(|((gate, up), dy)| gradients_of_block(gate, up, dy));
}

#[with_simd]
fn gate_block<S: Simd>(y: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate * sigmoid(*gate) * up;
    }
}

#[with_simd]
fn gradients_of_block<S: Simd>(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
        let sigmoid = sigmoid(*gate);
        let swish = *gate * sigmoid;
        let dgate = *dy * *up * sigmoid * (1.0 + *gate * (1.0 - sigmoid));
        (*gate, *up, *dy) = (dgate, *dy * swish, swish * *up);
    }
}
