use super::{
    CpuOp, CpuTensor,
    buffer::Buffer,
    product::{Into, Matrix, MatrixMut, Threads, product},
    values,
};

/// [`linear`](crate::linear): `y = x Wᵀ`, so `dx = dy W` and `dW = dyᵀ x`. No matrix is transposed in memory.
#[derive(Clone, Debug)]
pub(super) struct Linear;

impl CpuOp<2> for Linear {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [x, weight] = inputs.map(|input| input.to_contiguous());
        let (mut shape, [out, _]) = (x.layout().shape().clone(), dims(&weight));
        let last = shape.num_dims() - 1;
        shape[last] = out;
        (project(values(&x), &weight).into_tensor(shape), [x, weight])
    }

    fn backward(&self, [x, weight]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let mut dx = Buffer::new(values(&x).len());
        input_gradient(&mut dx, Into::Set, values(&gradient), &weight);
        let dw = weight_gradient(values(&gradient), values(&x), &weight);
        [dx.into_tensor(x.layout().shape().clone()), dw]
    }
}

/// `x Wᵀ`.
pub(super) fn project(x: &[f32], weight: &CpuTensor) -> Buffer {
    let [out, width] = dims(weight);
    let mut y = Buffer::new(x.len() / width * out);
    project_into(&mut y, Into::Set, x, weight);
    y
}

/// Writes or adds `x Wᵀ` to `y`.
pub(super) fn project_into(y: &mut [f32], into: Into, x: &[f32], weight: &CpuTensor) {
    let [out, width] = dims(weight);
    let weight_io = Matrix::new(values(weight), width).t();
    product(MatrixMut::new(y, out), Matrix::new(x, width), weight_io, into, Threads::All);
}

/// Writes or adds `dy W` to `dx`.
pub(super) fn input_gradient(dx: &mut [f32], into: Into, dy: &[f32], weight: &CpuTensor) {
    let [out, width] = dims(weight);
    let weight_oi = Matrix::new(values(weight), width);
    product(MatrixMut::new(dx, width), Matrix::new(dy, out), weight_oi, into, Threads::All);
}

/// `dyᵀ x`, in the shape of the weight.
pub(super) fn weight_gradient(dy: &[f32], x: &[f32], weight: &CpuTensor) -> CpuTensor {
    let [out, width] = dims(weight);
    let mut dw = Buffer::new(out * width);
    let dy_on = Matrix::new(dy, out).t();
    product(MatrixMut::new(&mut dw, width), dy_on, Matrix::new(x, width), Into::Set, Threads::All);
    dw.into_tensor([out, width])
}

/// The dimensions of a tensor of known rank.
pub(super) fn dims<const D: usize>(tensor: &CpuTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}
