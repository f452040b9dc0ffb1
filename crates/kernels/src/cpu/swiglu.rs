use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::{CpuOp, CpuTensor, tensor, values, vector::sigmoid};

/// [`swiglu`](crate::swiglu): `y = g σ(g) u`, so `du = dy g σ(g)` and `dg = dy u σ(g) (1 + g (1 - σ(g)))`.
#[derive(Clone, Debug)]
pub(super) struct SwiGlu;

/// Values one task takes.
const BLOCK: usize = 1 << 14;

impl CpuOp<2> for SwiGlu {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [gate, up] = inputs.map(|input| input.to_contiguous());
        let mut y = vec![0.0; values(&gate).len()];
        y.par_chunks_mut(BLOCK)
            .zip(values(&gate).par_chunks(BLOCK).zip(values(&up).par_chunks(BLOCK)))
            .for_each(|(y, (gate, up))| gated(y, gate, up));
        (tensor(y, gate.layout().shape().clone()), [gate, up])
    }

    fn backward(&self, [gate, up]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let mut dgate = vec![0.0; values(&gate).len()];
        let mut dup = vec![0.0; values(&gate).len()];
        let results = dgate.par_chunks_mut(BLOCK).zip(dup.par_chunks_mut(BLOCK));
        let inputs = values(&gate).par_chunks(BLOCK).zip(values(&up).par_chunks(BLOCK));
        results
            .zip(inputs)
            .zip(values(&gradient).par_chunks(BLOCK))
            .for_each(|(((dgate, dup), (gate, up)), dy)| gradients(dgate, dup, gate, up, dy));
        let shape = gate.layout().shape();
        [tensor(dgate, shape.clone()), tensor(dup, shape.clone())]
    }
}

#[with_simd]
fn gated<S: Simd>(y: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate * sigmoid(*gate) * up;
    }
}

#[with_simd]
fn gradients<S: Simd>(dgate: &mut [f32], dup: &mut [f32], gate: &[f32], up: &[f32], dy: &[f32]) {
    let results = dgate.iter_mut().zip(dup);
    for (((dgate, dup), (gate, up)), dy) in results.zip(gate.iter().zip(up)).zip(dy) {
        let sigmoid = sigmoid(*gate);
        *dup = dy * gate * sigmoid;
        *dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
    }
}
