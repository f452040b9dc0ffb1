//! Precision and other numerical settings of operations.

use burn::tensor::{FloatDType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Precision of the matrix multiplications. Tensors are float32 in any case, as are norms, rotations,
/// softmax, logits, losses, gradient sums and optimizer updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// float32 throughout.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// bfloat16 factors, as with `torch.autocast`: both factors of a matrix multiplication are rounded to
    /// bfloat16, in the backward pass too, and their products are summed in float32. Parameters, optimizer
    /// state, gradient sums, norms, softmax, logits and loss stay float32.
    ///
    /// `cuda` computes in bfloat16 if the device supports it, and also rounds the result to bfloat16. `wgpu`
    /// doesn't support it. `cpu` emulates it: it rounds the factors to the nearest value, ties to even, and
    /// multiplies in float32. The result shows what a run would learn in bfloat16, but saves neither time nor
    /// memory.
    #[serde(rename = "bf16-mixed")]
    Bf16Mixed,
}

impl Precision {
    /// Returns the name used in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16Mixed => "bf16-mixed",
        }
    }

    /// Computes `a · b` on any device. Both tensors and the result are float32.
    pub(crate) fn matmul<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => a.matmul(b),
            Self::Bf16Mixed => {
                a.cast(FloatDType::BF16).matmul(b.cast(FloatDType::BF16)).cast(FloatDType::F32)
            }
        }
    }
}

/// Numerical settings of a block of the residual stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numerics {
    /// Value that a norm adds to the mean square.
    pub eps: f64,
    /// Precision of the matrix multiplications.
    pub precision: Precision,
}
