use burn::tensor::{Device, Tensor};

/// Whether [`all_reduce`] works among these devices: they are CUDA devices, each another.
#[must_use]
pub fn has_all_reduce(devices: &[Device]) -> bool {
    #[cfg(feature = "cuda")]
    {
        let cuda = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
        let are_distinct = devices.iter().enumerate().all(|(at, device)| !devices[..at].contains(device));
        are_distinct && devices.iter().all(|device| cuda.contains(device))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = devices;
        false
    }
}

/// The sum of the vectors, `[n]` each, that devices of one process have: NCCL's all-reduce, which leaves the same bits on each. It
/// returns when the sum is there: a device that doesn't come is waited for here, where others can see it. Collective: one thread per device calls it, all with the same `devices`, in the same order.
///
/// # Panics
/// Where [`has_all_reduce`] says no.
#[must_use]
pub fn all_reduce(own: Tensor<1>, devices: &[Device]) -> Tensor<1> {
    use burn::tensor::distributed::{ReduceOperation, all_reduce};
    let sum = all_reduce(own, ReduceOperation::Sum, devices.to_vec()).resolve();
    // What goes wrong here is told by whoever reads the sum.
    let _ = sum.device().sync();
    sum
}
