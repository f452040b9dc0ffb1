//! CPU body of the self-attention block.

use super::attention::{Attention, AttentionForward, AttentionSizes};
use super::buffer::Buffer;
use super::linear::{input_gradient, project, project_into, weight_gradient};
use super::matmul::Accumulate;
use super::operation::CpuOp;
use super::rms_norm::RmsNorm;
use super::rope::{Rope, RotationDirection};
use super::tensor::{CpuTensor, dims, values};
use crate::attention_mask::AttentionMask;
use crate::precision::{Numerics, Precision};

/// [`self_attention`](crate::self_attention) of `x`, the norm's weight, and the weights of queries, keys,
/// values and output.
///
/// Fusing the block lets gradients accumulate inside the matmuls that produce them, and lets the backward
/// pass overwrite buffers that are no longer needed.
#[derive(Clone, Debug)]
pub(super) struct SelfAttention {
    norm: RmsNorm,
    rope: Rope,
    attention: Attention,
    precision: Precision,
}

/// State saved for the backward pass.
#[derive(Clone, Debug)]
pub(super) struct SelfAttentionSaved {
    inputs: [CpuTensor; 6],
    normed_nd: CpuTensor,
    /// Queries and keys after rotation, and values.
    qkv: [CpuTensor; 3],
    attention: CpuTensor,
    logsumexps: Vec<f32>,
}

impl CpuOp<6> for SelfAttention {
    type Saved = SelfAttentionSaved;

    fn forward_saving(&self, inputs: [CpuTensor; 6]) -> (CpuTensor, SelfAttentionSaved) {
        let inputs = inputs.map(|input| input.to_contiguous());
        let [x, norm, q, k, v, out] = &inputs;
        let sizes = self.sizes(&inputs);
        let normed = self.norm.normalized(values(x), values(norm));
        let mut qkv = [q, k, v].map(|weight| project(&normed, weight, self.precision));
        self.rope.rotate(&mut qkv[0], sizes.heads(), RotationDirection::Forward);
        self.rope.rotate(&mut qkv[1], sizes.kv_heads, RotationDirection::Forward);
        let (attention, logsumexps) =
            self.attention.forward_heads(&sizes, qkv.each_ref().map(|values| &**values));
        let mut y = Buffer::copy_of(values(x));
        project_into(&mut y, Accumulate::Add, &attention, out, self.precision);
        let y = y.into_tensor(x.layout().shape().clone());
        let tokens = sizes.batch * sizes.queries;
        let rows = |buffer: Buffer| {
            let width = buffer.len() / tokens;
            buffer.into_tensor([tokens, width])
        };
        let saved = SelfAttentionSaved {
            normed_nd: rows(normed),
            qkv: qkv.map(rows),
            attention: rows(attention),
            logsumexps,
            inputs,
        };
        (y, saved)
    }

    fn backward(&self, saved: SelfAttentionSaved, gradient: CpuTensor) -> [CpuTensor; 6] {
        let SelfAttentionSaved { inputs, normed_nd, qkv, attention, logsumexps } = saved;
        let sizes = self.sizes(&inputs);
        let [x, norm, q, k, v, out] = inputs;
        let mut gradient = gradient.to_contiguous();
        let mut dattention = Buffer::new(values(&attention).len());
        input_gradient(&mut dattention, Accumulate::Overwrite, values(&gradient), &out, self.precision);
        let dout = weight_gradient(values(&gradient), values(&attention), &out, self.precision);
        let forward = AttentionForward {
            qkv: qkv.each_ref().map(values),
            out: values(&attention),
            logsumexps: &logsumexps,
        };
        let [mut dq, mut dk, dv] = self.attention.gradients(&sizes, &forward, &dattention);
        self.rope.rotate(&mut dq, sizes.heads(), RotationDirection::Back);
        self.rope.rotate(&mut dk, sizes.kv_heads, RotationDirection::Back);
        let mut dnormed = Buffer::new(values(&x).len());
        input_gradient(&mut dnormed, Accumulate::Overwrite, &dq, &q, self.precision);
        input_gradient(&mut dnormed, Accumulate::Add, &dk, &k, self.precision);
        input_gradient(&mut dnormed, Accumulate::Add, &dv, &v, self.precision);
        let [dq, dk, dv] = [(&dq, &q), (&dk, &k), (&dv, &v)]
            .map(|(dy, weight)| weight_gradient(dy, values(&normed_nd), weight, self.precision));
        // The residual stream passes the gradient of the result through. The norm's gradient is added to it.
        let dx = gradient.storage_mut();
        let dnorm = self.norm.gradients(dx, Accumulate::Add, values(&x), values(&norm), &dnormed);
        let dnorm = dnorm.into_tensor(norm.layout().shape().clone());
        [gradient, dnorm, dq, dk, dv, dout]
    }
}

impl SelfAttention {
    pub(super) fn new(cos: CpuTensor, sin: CpuTensor, mask: AttentionMask, numerics: Numerics) -> Self {
        let Numerics { eps, precision } = numerics;
        Self {
            norm: RmsNorm { eps: eps as f32 },
            rope: Rope { cos, sin },
            attention: Attention { mask, precision },
            precision,
        }
    }

    fn sizes(&self, [x, _, q, k, ..]: &[CpuTensor; 6]) -> AttentionSizes {
        let ([batch, time, _], [_, _, _, half]) = (dims(x), dims(&self.rope.cos));
        let ([q_width, _], [kv_width, _]) = (dims(q), dims(k));
        let (dim, group) = (2 * half, q_width / kv_width);
        let (kv_heads, key_stride) = (kv_width / dim, time * kv_width);
        AttentionSizes { batch, queries: time, keys: time, kv_heads, group, dim, key_stride }
    }
}
