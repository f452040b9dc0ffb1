//! CPU body of RMS normalization.

use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::matmul::Accumulate;
use super::operation::CpuOp;
use super::tensor::{CpuTensor, values};
use super::vector::{self, sum_pairs, sum_triples};

/// [`rms_norm`](crate::rms_norm): `y = s x w` with `s = (mean(x²) + eps)^-½`, so that
/// `dx = s (w dy - x s² mean(w dy x))` and `dw = Σ dy s x` over rows.
#[derive(Clone, Debug)]
pub(super) struct RmsNorm {
    pub(super) eps: f32,
}

/// Number of rows per task.
const BLOCK: usize = 64;

impl CpuOp<2> for RmsNorm {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [x, weight] = inputs.map(|input| input.to_contiguous());
        let y = self.normalized(values(&x), values(&weight));
        (y.into_tensor(x.layout().shape().clone()), [x, weight])
    }

    fn backward(&self, [x, weight]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let mut dx = Buffer::new(values(&x).len());
        let dw =
            self.gradients(&mut dx, Accumulate::Overwrite, values(&x), values(&weight), values(&gradient));
        [dx.into_tensor(x.layout().shape().clone()), dw.into_tensor(weight.layout().shape().clone())]
    }
}

impl RmsNorm {
    /// Normalizes each row of `x`.
    pub(super) fn normalized(&self, x: &[f32], weight: &[f32]) -> Buffer {
        let block = BLOCK * weight.len();
        let mut y = Buffer::new(x.len());
        y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| normalize(y, x, weight, self.eps));
        y
    }

    /// Writes the gradient of `x` to `dx`, or adds it, and returns the gradient of the weight.
    pub(super) fn gradients(
        &self,
        dx: &mut [f32],
        accumulate: Accumulate,
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
    ) -> Buffer {
        let width = weight.len();
        let block = BLOCK * width;
        let mut partial_dw = Buffer::zeros(x.len().div_ceil(block) * width);
        let tasks = dx.par_chunks_mut(block).zip(partial_dw.par_chunks_exact_mut(width));
        tasks.zip(x.par_chunks(block).zip(dy.par_chunks(block))).for_each(|((dx, dw), (x, dy))| {
            gradients(dx, accumulate, dw, x, weight, dy, self.eps);
        });
        let mut dw = Buffer::zeros(width);
        for partial in partial_dw.chunks_exact(width) {
            vector::add(&mut dw, partial);
        }
        dw
    }
}

/// Returns `(mean(x²) + eps)^-½`.
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_pairs(x, x, |a, b| a * b) / x.len() as f32 + eps).sqrt()
}

#[with_simd]
fn normalize<S: Simd>(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    for (y, x) in y.chunks_exact_mut(weight.len()).zip(x.chunks_exact(weight.len())) {
        let scale = inverse_rms(x, eps);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * weight;
        }
    }
}

#[with_simd]
fn gradients<S: Simd>(
    dx: &mut [f32],
    accumulate: Accumulate,
    dw: &mut [f32],
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    eps: f32,
) {
    let width = weight.len();
    for ((dx, x), dy) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
        let scale = inverse_rms(x, eps);
        let correction = sum_triples(dy, weight, x) / width as f32 * scale * scale;
        let inputs = x.iter().zip(dy).zip(weight);
        let gradient = |((x, dy), weight): ((&f32, &f32), &f32)| scale * (dy * weight - x * correction);
        match accumulate {
            Accumulate::Overwrite => {
                dx.iter_mut().zip(inputs).for_each(|(dx, inputs)| *dx = gradient(inputs));
            }
            Accumulate::Add => dx.iter_mut().zip(inputs).for_each(|(dx, inputs)| *dx += gradient(inputs)),
        }
        for ((dw, x), dy) in dw.iter_mut().zip(x).zip(dy) {
            *dw += dy * (x * scale);
        }
    }
}
