use super::{
    CpuOp, CpuTensor,
    product::{Into, Matrix, Threads, product},
    tensor, values,
};

/// [`linear`](crate::linear): `y = x Wᵀ`, so `dx = dy W` and `dW = dyᵀ x`. No matrix is transposed in memory.
#[derive(Clone, Debug)]
pub(super) struct Linear;

impl CpuOp<2> for Linear {
    type Saved = [CpuTensor; 2];

    fn forward_saving(&self, inputs: [CpuTensor; 2]) -> (CpuTensor, Self::Saved) {
        let [x, weight] = inputs.map(|input| input.to_contiguous());
        let (mut shape, [out, width]) = (x.layout().shape().clone(), dims(&weight));
        let mut y = vec![0.0; values(&x).len() / width * out];
        product(
            &mut y,
            Matrix::new(values(&x), width),
            Matrix::new(values(&weight), width).t(),
            Into::Set,
            Threads::All,
        );
        let last = shape.num_dims() - 1;
        shape[last] = out;
        (tensor(y, shape), [x, weight])
    }

    fn backward(&self, [x, weight]: Self::Saved, gradient: CpuTensor) -> [CpuTensor; 2] {
        let gradient = gradient.to_contiguous();
        let [out, width] = dims(&weight);
        let dy = Matrix::new(values(&gradient), out);
        let mut dx = vec![0.0; values(&x).len()];
        product(&mut dx, dy, Matrix::new(values(&weight), width), Into::Set, Threads::All);
        let mut dw = vec![0.0; out * width];
        product(&mut dw, dy.t(), Matrix::new(values(&x), width), Into::Set, Threads::All);
        [tensor(dx, x.layout().shape().clone()), tensor(dw, weight.layout().shape().clone())]
    }
}

/// The dimensions of a tensor of known rank.
pub(super) fn dims<const D: usize>(tensor: &CpuTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}
