use burn::tensor::{FloatDType, Tensor};

/// What the products of matrices are computed in. Whatever it is, tensors are float32, and so are norms, rotations, softmax, logits, losses,
/// sums of gradients and updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16, as `torch.autocast` has it: both factors of a product are rounded to it, in the backward pass too, and products are added up in
    /// float32.
    ///
    /// A device that has bfloat16 also rounds the result to it. The CPU emulates: it rounds the factors to the nearest value, ties to even, and
    /// multiplies in float32. That tells what a run would learn in bfloat16; it takes no less time or memory.
    Bf16Mixed,
}

/// What a block of the residual stream computes with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numerics {
    /// What a norm adds to the mean square.
    pub eps: f64,
    /// What products are computed in.
    pub precision: Precision,
}

impl Precision {
    /// `a · b` on any device, of float32 tensors and as one.
    pub(crate) fn matmul<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => a.matmul(b),
            Self::Bf16Mixed => {
                a.cast(FloatDType::BF16).matmul(b.cast(FloatDType::BF16)).cast(FloatDType::F32)
            }
        }
    }
}
