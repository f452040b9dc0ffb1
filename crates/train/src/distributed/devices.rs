//! Gradients added up among the devices of one process.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use fineline_kernels::{all_reduce, has_all_reduce};
use fineline_ranks::RankThreads;
use rayon::prelude::*;

use crate::distributed::division::{BLOCK, Division};
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// The sum of what each rank of this process has, on the device of each. A parameter without a gradient counts as zeros.
pub(crate) fn sum_within_process(
    own: GradientSum,
    division: &Division,
    threads: &RankThreads,
    device: &Device,
) -> GradientSum {
    let devices = threads.all_gather(device.clone());
    let way = if has_all_reduce(&devices) { Way::OnDevices(devices) } else { Way::OnHost };
    let mut own = own.0;
    let mut sums = ByName::new();
    for bucket in division.buckets() {
        let parameters = &division.parameters()[bucket.parameters.clone()];
        let gradients = parameters
            .iter()
            .map(|spec| own.remove(&spec.name).unwrap_or_else(|| Tensor::zeros([spec.len()], device)))
            .collect();
        let sum = way.sum(Tensor::cat(gradients, 0), threads);
        let mut start = 0;
        for spec in parameters {
            let end = start + spec.len();
            sums.insert(spec.name.clone(), sum.clone().slice(start..end));
            start = end;
        }
    }
    GradientSum(sums)
}

/// Where vectors are added up.
enum Way {
    /// By the devices themselves.
    OnDevices(Vec<Device>),
    /// In the host's memory, by each rank, in the order of ranks. Tensors aren't shown around: with Burn 0.22.1, what one thread has put
    /// on a device, another now and then reads before it is there.
    OnHost,
}

impl Way {
    /// The sum of a vector that each rank has one of, `[n]`, the same bits on each device.
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
        let values: &[f32] = vector.as_slice().expect("they have just been made float32");
        sum.par_iter_mut().zip(values).with_min_len(BLOCK).for_each(|(sum, value)| *sum += value);
    }
    let len = sum.len();
    Tensor::from_data(TensorData::new(sum, [len]), &device)
}
