//! CPU body of rotary position embedding.

use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::operation::CpuOp;
use super::tensor::{CpuTensor, dims, values};

/// [`rope`](crate::rope). Gradients are rotated by the negated angles.
#[derive(Clone, Debug)]
pub(super) struct Rope {
    /// `[rows, tokens, 1, head_dim / 2]`.
    pub(super) cos: CpuTensor,
    pub(super) sin: CpuTensor,
}

/// Direction of a rotation.
#[derive(Clone, Copy, Debug)]
pub(super) enum RotationDirection {
    Forward,
    Back,
}

/// Number of tokens per task.
const BLOCK: usize = 64;

impl CpuOp<1> for Rope {
    type Saved = ();

    fn forward_saving(&self, [x]: [CpuTensor; 1]) -> (CpuTensor, ()) {
        (self.rotated(x, RotationDirection::Forward), ())
    }

    fn backward(&self, (): (), gradient: CpuTensor) -> [CpuTensor; 1] {
        [self.rotated(gradient, RotationDirection::Back)]
    }
}

impl Rope {
    /// Rotates the tensor, in place if it has no other owner.
    fn rotated(&self, x: CpuTensor, direction: RotationDirection) -> CpuTensor {
        let [_, _, heads, _] = dims(&x);
        let mut x = if x.is_contiguous() && x.layout().start_offset() == 0 { x } else { x.to_contiguous() };
        let len = x.layout().num_elements();
        self.rotate(&mut x.storage_mut()[..len], heads, direction);
        x
    }

    /// Rotates each head of `[tokens, heads, head_dim]`.
    pub(super) fn rotate(&self, x: &mut [f32], heads: usize, direction: RotationDirection) {
        let [_, _, _, half] = dims(&self.cos);
        let (cos, sin) = (values(&self.cos), values(&self.sin));
        let (token, angles) = (heads * 2 * half, cos.len() / half);
        let sign = match direction {
            RotationDirection::Forward => 1.0,
            RotationDirection::Back => -1.0,
        };
        x.par_chunks_mut(BLOCK * token).enumerate().for_each(|(block, x)| {
            for (i, x) in x.chunks_exact_mut(token).enumerate() {
                let at = (block * BLOCK + i) % angles * half;
                rotate_heads(x, &cos[at..][..half], &sin[at..][..half], sign);
            }
        });
    }
}

#[with_simd]
fn rotate_heads<S: Simd>(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    for head in x.chunks_exact_mut(2 * cos.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
            let sin = sin * sign;
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}
