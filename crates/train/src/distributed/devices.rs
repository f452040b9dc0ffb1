//! Sums of gradients over the devices of one process.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use fineline_kernels::{all_reduce, has_all_reduce};
use fineline_ranks::RankThreads;
use rayon::prelude::*;

use crate::distributed::division::{BLOCK, Division};
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// Sums the gradients of the ranks of this process, and returns the sum on the device of each. Missing
/// gradients count as zeros.
pub(crate) fn sum_within_process(
    own: GradientSum,
    division: &Division,
    threads: &RankThreads,
    device: &Device,
) -> GradientSum {
    let devices = threads.all_gather(device.clone());
    let reduction =
        if has_all_reduce(&devices) { LocalReduction::OnDevices(devices) } else { LocalReduction::OnHost };
    let mut own = own.0;
    let mut sums = ByName::new();
    for bucket in division.buckets() {
        let parameters = &division.parameters()[bucket.parameters.clone()];
        let gradients = parameters
            .iter()
            .map(|spec| own.remove(&spec.name).unwrap_or_else(|| Tensor::zeros([spec.len()], device)))
            .collect();
        let sum = reduction.sum(Tensor::cat(gradients, 0), threads);
        let mut start = 0;
        for spec in parameters {
            let end = start + spec.len();
            sums.insert(spec.name.clone(), sum.clone().slice(start..end));
            start = end;
        }
    }
    GradientSum(sums)
}

/// The place in which the vectors of the ranks of a process are summed.
enum LocalReduction {
    /// On the devices, by their all-reduce.
    OnDevices(Vec<Device>),
    /// In host memory, by each rank, in the order of ranks. Tensors aren't shared between threads: with Burn
    /// 0.22.1, a thread sometimes reads a tensor of another thread before it has been written.
    OnHost,
}

impl LocalReduction {
    /// Returns the sum of all ranks' vectors, `[n]`, with the same bits on each device.
    fn sum(&self, own: Tensor<1>, threads: &RankThreads) -> Tensor<1> {
        match self {
            Self::OnDevices(devices) => threads.run_collective(|| all_reduce(own, devices)),
            Self::OnHost => sum_on_host(own, threads),
        }
    }
}

fn sum_on_host(own: Tensor<1>, threads: &RankThreads) -> Tensor<1> {
    let device = own.device();
    let vectors = threads.all_gather(Arc::new(own.into_data().convert::<f32>()));
    let mut sum = vec![0.0; vectors[0].num_elements()];
    for vector in &vectors {
        let values: &[f32] = vector.as_slice().expect("they were just converted to float32");
        sum.par_iter_mut().zip(values).with_min_len(BLOCK).for_each(|(sum, value)| *sum += value);
    }
    let len = sum.len();
    Tensor::from_data(TensorData::new(sum, [len]), &device)
}
