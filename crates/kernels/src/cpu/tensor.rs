//! Tensors of the flex backend, whose values are in the CPU's memory.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{DispatchDevice, Flex};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

/// A tensor in the CPU's memory.
pub(crate) type CpuTensor = FloatTensor<Flex>;

/// Returns whether the CPU bodies support this tensor: float32, on the flex backend.
pub(crate) fn supports<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_in_host_memory(&tensor.device())
}

/// Returns whether tensors of this device are in host memory, where their values can be read without a copy.
#[must_use]
pub fn is_in_host_memory(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// Returns the values of a contiguous tensor.
pub(super) fn values(tensor: &CpuTensor) -> &[f32] {
    let (start, end) = tensor.layout().contiguous_offsets().expect("the tensor was made contiguous");
    &tensor.storage()[start..end]
}

/// Creates a tensor of these values.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, shape))
}

/// Returns the values of an integer tensor as indices.
pub(super) fn indices(tensor: &IntTensor<Flex>) -> Vec<usize> {
    tensor.clone().into_data().iter::<i64>().map(|index| index as usize).collect()
}

/// Returns the dimensions of a tensor of known rank.
pub(super) fn dims<const D: usize>(tensor: &CpuTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}
