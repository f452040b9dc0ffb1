//! Gradients added up among the devices of one process.

use burn::tensor::{Device, Tensor};
use fineline_kernels::{add_to, all_reduce, has_all_reduce};
use fineline_ranks::Threads;

use crate::distributed::Division;
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// The sum of what each rank of this process has, on the device of each. A parameter without a gradient counts as zeros.
pub(crate) fn sum_within_process(
    own: GradientSum,
    division: &Division,
    threads: &Threads,
    device: &Device,
) -> GradientSum {
    let devices = threads.show(device.clone());
    let mut own = own.0;
    let mut sums = ByName::new();
    for bucket in division.buckets() {
        let parameters = &division.parameters()[bucket.parameters.clone()];
        let gradients = parameters
            .iter()
            .map(|spec| own.remove(&spec.name).unwrap_or_else(|| Tensor::zeros([spec.len()], device)))
            .collect();
        let sum = sum_among(Tensor::cat(gradients, 0), &devices, threads);
        let mut start = 0;
        for spec in parameters {
            let end = start + spec.len();
            sums.insert(spec.name.clone(), sum.clone().slice(start..end));
            start = end;
        }
    }
    GradientSum(sums)
}

/// The sum of a vector that each rank has one of, `[n]`, the same bits on each device. Where devices can't add up among themselves, each
/// adds up all vectors, in the order of ranks.
fn sum_among(own: Tensor<1>, devices: &[Device], threads: &Threads) -> Tensor<1> {
    if has_all_reduce(devices) {
        return threads.meet(|| all_reduce(own, devices));
    }
    let device = own.device();
    let vectors = threads.show(own).into_iter().map(|vector| vector.to_device(&device));
    vectors.reduce(add_to).expect("there is at least this rank")
}
