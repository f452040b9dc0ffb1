//! CPU body of the feed-forward block.

use super::buffer::Buffer;
use super::linear::{input_gradient, project, project_into, weight_gradient};
use super::matmul::Accumulate;
use super::operation::CpuOp;
use super::rms_norm::RmsNorm;
use super::swiglu;
use super::tensor::{CpuTensor, dims, values};
use crate::precision::{Numerics, Precision};

/// [`feed_forward`](crate::feed_forward) of `x`, the norm's weight, and the weights of gate, up and down.
///
/// Fusing the block lets gradients accumulate inside the matmuls that produce them, and lets the backward
/// pass overwrite buffers that are no longer needed. The gated values are recomputed instead of saved.
#[derive(Clone, Debug)]
pub(super) struct FeedForward {
    norm: RmsNorm,
    precision: Precision,
}

impl FeedForward {
    pub(super) fn new(Numerics { eps, precision }: Numerics) -> Self {
        Self { norm: RmsNorm { eps: eps as f32 }, precision }
    }
}

/// State saved for the backward pass.
#[derive(Clone, Debug)]
pub(super) struct FeedForwardSaved {
    inputs: [CpuTensor; 5],
    normed_nd: CpuTensor,
    gate_nf: CpuTensor,
    up_nf: CpuTensor,
}

impl CpuOp<5> for FeedForward {
    type Saved = FeedForwardSaved;

    fn forward_saving(&self, inputs: [CpuTensor; 5]) -> (CpuTensor, FeedForwardSaved) {
        let inputs = inputs.map(|input| input.to_contiguous());
        let [x, norm, gate, up, down] = &inputs;
        let normed = self.norm.normalized(values(x), values(norm));
        let (gate_nf, up_nf) = (project(&normed, gate, self.precision), project(&normed, up, self.precision));
        let mut y = Buffer::copy_of(values(x));
        project_into(&mut y, Accumulate::Add, &swiglu::gated(&gate_nf, &up_nf), down, self.precision);
        let y = y.into_tensor(x.layout().shape().clone());
        let [width, ffn] = dims(down);
        let tokens = values(x).len() / width;
        let saved = FeedForwardSaved {
            normed_nd: normed.into_tensor([tokens, width]),
            gate_nf: gate_nf.into_tensor([tokens, ffn]),
            up_nf: up_nf.into_tensor([tokens, ffn]),
            inputs,
        };
        (y, saved)
    }

    fn backward(&self, saved: FeedForwardSaved, gradient: CpuTensor) -> [CpuTensor; 5] {
        let FeedForwardSaved { inputs: [x, norm, gate, up, down], normed_nd, mut gate_nf, mut up_nf } = saved;
        let mut gradient = gradient.to_contiguous();
        let mut dgated = Buffer::new(values(&gate_nf).len());
        input_gradient(&mut dgated, Accumulate::Overwrite, values(&gradient), &down, self.precision);
        // From here on, `gate_nf` and `up_nf` hold gradients, and `gated` the input of `down`.
        swiglu::gradients(gate_nf.storage_mut(), up_nf.storage_mut(), &mut dgated);
        let gated = dgated;
        let ddown = weight_gradient(values(&gradient), &gated, &down, self.precision);
        drop(gated);
        let mut dnormed = Buffer::new(values(&x).len());
        input_gradient(&mut dnormed, Accumulate::Overwrite, values(&gate_nf), &gate, self.precision);
        input_gradient(&mut dnormed, Accumulate::Add, values(&up_nf), &up, self.precision);
        let dgate = weight_gradient(values(&gate_nf), values(&normed_nd), &gate, self.precision);
        let dup = weight_gradient(values(&up_nf), values(&normed_nd), &up, self.precision);
        // The residual stream passes the gradient of the result through. The norm's gradient is added to it.
        let dx = gradient.storage_mut();
        let dnorm = self.norm.gradients(dx, Accumulate::Add, values(&x), values(&norm), &dnormed);
        let dnorm = dnorm.into_tensor(norm.layout().shape().clone());
        [gradient, dnorm, dgate, dup, ddown]
    }
}
