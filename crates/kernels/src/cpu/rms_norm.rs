use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::{
    CpuOp, CpuTensor, tensor, values,
    vector::{self, sum_pairs},
};

/// [`rms_norm`](crate::rms_norm): `y = s x w` with `s = (mean(x²) + eps)^-½`, so that
/// `dx = s (w dy - x s² mean(w dy x))` and `dw = Σ dy s x` over rows.
#[derive(Clone, Debug)]
pub(super) struct RmsNorm {
    pub(super) eps: f32,
}

/// Rows one task takes.
const BLOCK: usize = 64;

impl CpuOp<2> for RmsNorm {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [x, weight] = inputs.map(|input| input.to_contiguous());
        let block = BLOCK * values(&weight).len();
        let mut y = vec![0.0; values(&x).len()];
        y.par_chunks_mut(block)
            .zip(values(&x).par_chunks(block))
            .for_each(|(y, x)| normalize(y, x, values(&weight), self.eps));
        (tensor(y, x.layout().shape().clone()), [x, weight])
    }

    fn backward(&self, [x, weight]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let width = values(&weight).len();
        let block = BLOCK * width;
        let mut dx = vec![0.0; values(&x).len()];
        let partial_dw: Vec<Vec<f32>> = dx
            .par_chunks_mut(block)
            .zip(values(&x).par_chunks(block).zip(values(&gradient).par_chunks(block)))
            .map(|(dx, (x, dy))| {
                let mut dw = vec![0.0; width];
                gradients(dx, &mut dw, x, values(&weight), dy, self.eps);
                dw
            })
            .collect();
        let mut dw = vec![0.0; width];
        for partial in partial_dw {
            vector::add(&mut dw, &partial);
        }
        [tensor(dx, x.layout().shape().clone()), tensor(dw, weight.layout().shape().clone())]
    }
}

/// `(mean(x²) + eps)^-½`.
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
fn gradients<S: Simd>(dx: &mut [f32], dw: &mut [f32], x: &[f32], weight: &[f32], dy: &[f32], eps: f32) {
    let width = weight.len();
    for ((dx, x), dy) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
        let scale = inverse_rms(x, eps);
        for ((dx, dy), weight) in dx.iter_mut().zip(dy).zip(weight) {
            *dx = dy * weight;
        }
        let pull = sum_pairs(dx, x, |a, b| a * b) / width as f32 * scale * scale;
        for (((dx, x), dy), dw) in dx.iter_mut().zip(x).zip(dy).zip(&mut *dw) {
            *dx = scale * (*dx - x * pull);
            *dw += dy * (x * scale);
        }
    }
}
