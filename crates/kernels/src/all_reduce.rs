//! Sums over the devices of a process.

use burn::tensor::{Device, Tensor};

/// Returns whether [`all_reduce`] works among `devices`: all must be CUDA devices, and distinct.
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

/// Returns the sum of one `[n]` vector per device of this process, through NCCL's all-reduce, which leaves
/// the same bits on every device.
///
/// A collective: one thread per device calls it, with the same `devices` and in the same order of calls. It
/// waits for the result, so that a rank blocked by a missing device blocks here, where the watchdog can
/// report it.
///
/// # Panics
/// If [`has_all_reduce`] returns false for `devices`.
#[must_use]
pub fn all_reduce(own: Tensor<1>, devices: &[Device]) -> Tensor<1> {
    use burn::tensor::distributed::{ReduceOperation, all_reduce};
    let sum = all_reduce(own, ReduceOperation::Sum, devices.to_vec()).resolve();
    // A failure here surfaces when the caller reads the sum.
    let _ = sum.device().sync();
    sum
}
