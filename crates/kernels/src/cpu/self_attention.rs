use super::attention::{Attention, Mixed, Sizes};
use super::buffer::Buffer;
use super::linear::{input_gradient, project, project_into, weight_gradient};
use super::matmul::Into;
use super::operation::CpuOp;
use super::rms_norm::RmsNorm;
use super::rope::{Direction, Rope};
use super::tensor::{CpuTensor, dims, values};
use crate::precision::{Numerics, Precision};
use crate::visibility::Visibility;

// Shapes: n tokens, d hidden, h query heads, k key-value heads, e head_dim.

/// [`self_attention`](crate::self_attention) of `x`, the norm's weight, and the weights of queries, keys, values and output.
///
/// As one operation it adds gradients up within the products that make them, and overwrites what is no longer needed.
#[derive(Clone, Debug)]
pub(super) struct SelfAttention {
    norm: RmsNorm,
    rope: Rope,
    attention: Attention,
    precision: Precision,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    inputs: [CpuTensor; 6],
    normed_nd: CpuTensor,
    /// Queries and keys rotated.
    qkv: [CpuTensor; 3],
    mixed: CpuTensor,
    log_sums: Vec<f32>,
}

impl CpuOp<6> for SelfAttention {
    type Saved = Saved;

    fn forward_saving(&self, inputs: [CpuTensor; 6]) -> (CpuTensor, Saved) {
        let inputs = inputs.map(|input| input.to_contiguous());
        let [x, norm, q, k, v, out] = &inputs;
        let sizes = self.sizes(&inputs);
        let normed = self.norm.normalized(values(x), values(norm));
        let mut qkv = [q, k, v].map(|weight| project(&normed, weight, self.precision));
        self.rope.rotate(&mut qkv[0], sizes.heads(), Direction::Forward);
        self.rope.rotate(&mut qkv[1], sizes.kv_heads, Direction::Forward);
        let (mixed, log_sums) = self.attention.mix(&sizes, qkv.each_ref().map(|values| &**values));
        let mut y = Buffer::copy_of(values(x));
        project_into(&mut y, Into::Add, &mixed, out, self.precision);
        let y = y.into_tensor(x.layout().shape().clone());
        let tokens = sizes.batch * sizes.queries;
        let rows = |buffer: Buffer| {
            let width = buffer.len() / tokens;
            buffer.into_tensor([tokens, width])
        };
        let saved =
            Saved { normed_nd: rows(normed), qkv: qkv.map(rows), mixed: rows(mixed), log_sums, inputs };
        (y, saved)
    }

    fn backward(&self, saved: Saved, gradient: CpuTensor) -> [CpuTensor; 6] {
        let Saved { inputs, normed_nd, qkv, mixed, log_sums } = saved;
        let sizes = self.sizes(&inputs);
        let [x, norm, q, k, v, out] = inputs;
        let mut gradient = gradient.to_contiguous();
        let mut dmixed = Buffer::new(values(&mixed).len());
        input_gradient(&mut dmixed, Into::Set, values(&gradient), &out, self.precision);
        let dout = weight_gradient(values(&gradient), values(&mixed), &out, self.precision);
        let forward = Mixed { qkv: qkv.each_ref().map(values), out: values(&mixed), log_sums: &log_sums };
        let [mut dq, mut dk, dv] = self.attention.gradients(&sizes, &forward, &dmixed);
        self.rope.rotate(&mut dq, sizes.heads(), Direction::Back);
        self.rope.rotate(&mut dk, sizes.kv_heads, Direction::Back);
        let mut dnormed = Buffer::new(values(&x).len());
        input_gradient(&mut dnormed, Into::Set, &dq, &q, self.precision);
        input_gradient(&mut dnormed, Into::Add, &dk, &k, self.precision);
        input_gradient(&mut dnormed, Into::Add, &dv, &v, self.precision);
        let [dq, dk, dv] = [(&dq, &q), (&dk, &k), (&dv, &v)]
            .map(|(dy, weight)| weight_gradient(dy, values(&normed_nd), weight, self.precision));
        // The residual stream's gradient is the result's, and the norm's comes to it.
        let dx = gradient.storage_mut();
        let dnorm = self.norm.gradients(dx, Into::Add, values(&x), values(&norm), &dnormed);
        let dnorm = dnorm.into_tensor(norm.layout().shape().clone());
        [gradient, dnorm, dq, dk, dv, dout]
    }
}

impl SelfAttention {
    pub(super) fn new(cos: CpuTensor, sin: CpuTensor, visibility: Visibility, numerics: Numerics) -> Self {
        let Numerics { eps, precision } = numerics;
        Self {
            norm: RmsNorm { eps: eps as f32 },
            rope: Rope { cos, sin },
            attention: Attention { visibility, precision },
            precision,
        }
    }

    fn sizes(&self, [x, _, q, k, ..]: &[CpuTensor; 6]) -> Sizes {
        let ([batch, time, _], [_, _, _, half]) = (dims(x), dims(&self.rope.cos));
        let ([q_width, _], [kv_width, _]) = (dims(q), dims(k));
        let (dim, group) = (2 * half, q_width / kv_width);
        let (kv_heads, key_stride) = (kv_width / dim, time * kv_width);
        Sizes { batch, queries: time, keys: time, kv_heads, group, dim, key_stride }
    }
}
