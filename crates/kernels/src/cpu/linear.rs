//! CPU body of the linear layer, and its parts, which fused blocks use.

use super::buffer::Buffer;
use super::matmul::{Accumulate, MatmulThreads, Matrix, MatrixMut, matmul};
use super::operation::CpuOp;
use super::tensor::{CpuTensor, dims, values};
use crate::precision::Precision;

/// [`linear`](crate::linear): `y = x Wᵀ`, so `dx = dy W` and `dW = dyᵀ x`. No matrix is transposed in memory.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) precision: Precision,
}

impl CpuOp<2> for Linear {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [x, weight] = inputs.map(|input| input.to_contiguous());
        let (mut shape, [out, _]) = (x.layout().shape().clone(), dims(&weight));
        let last = shape.num_dims() - 1;
        shape[last] = out;
        (project(values(&x), &weight, self.precision).into_tensor(shape), [x, weight])
    }

    fn backward(&self, [x, weight]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let mut dx = Buffer::new(values(&x).len());
        input_gradient(&mut dx, Accumulate::Overwrite, values(&gradient), &weight, self.precision);
        let dw = weight_gradient(values(&gradient), values(&x), &weight, self.precision);
        [dx.into_tensor(x.layout().shape().clone()), dw]
    }
}

/// Returns `x Wᵀ`.
pub(super) fn project(x: &[f32], weight: &CpuTensor, precision: Precision) -> Buffer {
    let [out, width] = dims(weight);
    let mut y = Buffer::new(x.len() / width * out);
    project_into(&mut y, Accumulate::Overwrite, x, weight, precision);
    y
}

/// Writes `x Wᵀ` to `y`, or adds it.
pub(super) fn project_into(
    y: &mut [f32],
    accumulate: Accumulate,
    x: &[f32],
    weight: &CpuTensor,
    precision: Precision,
) {
    let [out, width] = dims(weight);
    let [x_ni, weight_oi] = [x, values(weight)].map(|values| Matrix::new(values, width).at(precision));
    matmul(MatrixMut::new(y, out), x_ni, weight_oi.t(), accumulate, MatmulThreads::All);
}

/// Writes `dy W` to `dx`, or adds it.
pub(super) fn input_gradient(
    dx: &mut [f32],
    accumulate: Accumulate,
    dy: &[f32],
    weight: &CpuTensor,
    precision: Precision,
) {
    let [out, width] = dims(weight);
    let weight_oi = Matrix::new(values(weight), width).at(precision);
    let dy_no = Matrix::new(dy, out).at(precision);
    matmul(MatrixMut::new(dx, width), dy_no, weight_oi, accumulate, MatmulThreads::All);
}

/// Returns `dyᵀ x`, in the shape of the weight.
pub(super) fn weight_gradient(dy: &[f32], x: &[f32], weight: &CpuTensor, precision: Precision) -> CpuTensor {
    let [out, width] = dims(weight);
    let mut dw = Buffer::new(out * width);
    let (dy_no, x_ni) = (Matrix::new(dy, out).at(precision), Matrix::new(x, width).at(precision));
    matmul(MatrixMut::new(&mut dw, width), dy_no.t(), x_ni, Accumulate::Overwrite, MatmulThreads::All);
    dw.into_tensor([out, width])
}
