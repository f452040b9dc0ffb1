//! CPU body of `add`.

use rayon::prelude::*;

use super::buffer::Buffer;
use super::operation::CpuOp;
use super::tensor::{CpuTensor, values};
use super::vector;

/// [`add`](crate::add). Both inputs have the gradient of the result.
#[derive(Clone, Debug)]
pub(super) struct Add;

/// Number of values per task.
const BLOCK: usize = 1 << 14;

impl CpuOp<2> for Add {
    type Saved = ();

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, ()) {
        let [x, y] = inputs.map(|input| input.to_contiguous());
        let mut sum = Buffer::new(values(&x).len());
        sum.par_chunks_mut(BLOCK)
            .zip(values(&x).par_chunks(BLOCK).zip(values(&y).par_chunks(BLOCK)))
            .for_each(|(sum, (x, y))| vector::sum(sum, x, y));
        (sum.into_tensor(x.layout().shape().clone()), ())
    }

    fn backward(&self, (): (), gradient: CpuTensor) -> [CpuTensor; 2] {
        [gradient.clone(), gradient]
    }
}
