use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::{CpuOp, CpuTensor, linear::dims, values};

/// [`rope`](crate::rope). The gradient is rotated back: by the same angles, negated.
#[derive(Clone, Debug)]
pub(super) struct Rope {
    /// `[rows, time, 1, head_dim / 2]`.
    pub(super) cos: CpuTensor,
    pub(super) sin: CpuTensor,
}

/// Tokens one task takes.
const BLOCK: usize = 64;

impl CpuOp<1> for Rope {
    type Saved = ();

    fn forward_saving(&self, [x]: [CpuTensor; 1]) -> (CpuTensor, ()) {
        (self.rotate(x, 1.0), ())
    }

    fn backward(&self, (): (), gradient: CpuTensor) -> [CpuTensor; 1] {
        [self.rotate(gradient, -1.0)]
    }
}

impl Rope {
    /// Rotates in place where nobody else holds the tensor; `direction` is 1 or -1.
    fn rotate(&self, x: CpuTensor, direction: f32) -> CpuTensor {
        let [_, _, heads, head_dim] = dims(&x);
        let (cos, sin) = (values(&self.cos), values(&self.sin));
        let (token, half) = (heads * head_dim, head_dim / 2);
        let angles = cos.len() / half;
        let mut x = if x.is_contiguous() && x.layout().start_offset() == 0 { x } else { x.to_contiguous() };
        let len = x.layout().num_elements();
        x.storage_mut::<f32>()[..len].par_chunks_mut(BLOCK * token).enumerate().for_each(|(block, x)| {
            for (i, x) in x.chunks_exact_mut(token).enumerate() {
                let at = (block * BLOCK + i) % angles * half;
                rotate_heads(x, head_dim, &cos[at..][..half], &sin[at..][..half], direction);
            }
        });
        x
    }
}

#[with_simd]
fn rotate_heads<S: Simd>(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], direction: f32) {
    for head in x.chunks_exact_mut(head_dim) {
        let (first, second) = head.split_at_mut(head_dim / 2);
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
            let sin = sin * direction;
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}
