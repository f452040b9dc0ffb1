//! CPU body of the embedding look-up.

use burn::{backend::Flex, backend::tensor::IntTensor, tensor::Shape};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::operation::CpuOp;
use super::tensor::{CpuTensor, dims, indices, values};
use super::vector;

/// [`embedding`](crate::embedding).
#[derive(Clone, Debug)]
pub(super) struct Embedding {
    tokens: Vec<usize>,
    shape: [usize; 2],
}

/// Number of embedding rows whose gradients one task sums.
const VOCABULARY_BLOCK: usize = 256;

impl Embedding {
    pub(super) fn new(tokens: &IntTensor<Flex>) -> Self {
        Self { shape: dims(tokens), tokens: indices(tokens) }
    }
}

impl CpuOp<1> for Embedding {
    /// Shape of the weight.
    type Saved = Shape;

    fn forward_saving(&self, [weight]: [CpuTensor; 1]) -> (CpuTensor, Shape) {
        let weight = weight.to_contiguous();
        let [_, width] = dims(&weight);
        let mut out = Buffer::new(self.tokens.len() * width);
        for (&token, row) in self.tokens.iter().zip(out.chunks_exact_mut(width)) {
            row.copy_from_slice(&values(&weight)[token * width..][..width]);
        }
        (out.into_tensor([self.shape[0], self.shape[1], width]), weight.layout().shape().clone())
    }

    /// Each task owns a range of the vocabulary and scans all tokens in order, so that repeated tokens are
    /// added in the same order on any number of threads.
    fn backward(&self, shape: Shape, gradient: CpuTensor) -> [CpuTensor; 1] {
        let gradient = gradient.to_contiguous();
        let [vocab, width] = shape.dims();
        let mut dw = Buffer::new(vocab * width);
        dw.par_chunks_mut(VOCABULARY_BLOCK * width).enumerate().for_each(|(block, dw)| {
            dw.fill(0.0);
            let first = block * VOCABULARY_BLOCK;
            let rows = first..first + dw.len() / width;
            for (&token, dy) in self.tokens.iter().zip(values(&gradient).chunks_exact(width)) {
                if rows.contains(&token) {
                    vector::add(&mut dw[(token - first) * width..][..width], dy);
                }
            }
        });
        [dw.into_tensor(shape)]
    }
}
