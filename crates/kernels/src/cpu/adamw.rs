//! Elementwise operations on gradients and parameters, each a single pass over memory on all threads.

use burn::{
    backend::{Flex, tensor::FloatTensor},
    tensor::Tensor,
};
use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::tensor::{CpuTensor, tensor, values};
use super::vector;
use crate::adamw_factors::AdamWFactors;

/// Number of values per task.
const BLOCK: usize = 1 << 14;

/// [`adamw`](crate::adamw) of tensors on the flex backend.
pub(crate) fn adamw(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    state: [Tensor<1>; 2],
    factors: &AdamWFactors,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let mut parameter = flat(parameter);
    let gradient = flat(gradient);
    let [mut exp_avg, mut exp_avg_sq] = state.map(flat);
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(BLOCK)
        .zip(exp_avg.storage_mut::<f32>().par_chunks_mut(BLOCK))
        .zip(exp_avg_sq.storage_mut::<f32>().par_chunks_mut(BLOCK))
        .zip(values(&gradient).par_chunks(BLOCK))
        .for_each(|(((parameter, exp_avg), exp_avg_sq), gradient)| {
            update(parameter, gradient, exp_avg, exp_avg_sq, *factors);
        });
    (public(parameter), [exp_avg, exp_avg_sq].map(public))
}

#[with_simd]
fn update<S: Simd>(
    parameter: &mut [f32],
    gradient: &[f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
    factors: AdamWFactors,
) {
    let state = exp_avg.iter_mut().zip(exp_avg_sq);
    for ((parameter, gradient), (exp_avg, exp_avg_sq)) in parameter.iter_mut().zip(gradient).zip(state) {
        let gradient = gradient * factors.gradient;
        *exp_avg = *exp_avg * factors.keep[0] + gradient * factors.join[0];
        *exp_avg_sq = *exp_avg_sq * factors.keep[1] + gradient * gradient * factors.join[1];
        let denominator = exp_avg_sq.sqrt() / factors.root_correction + factors.eps;
        *parameter = *parameter * factors.decay - *exp_avg / denominator * factors.step;
    }
}

/// [`add_to`](crate::add_to) of tensors on the flex backend.
pub(crate) fn add_to(sum: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
    let (mut sum, gradient) = (flat(sum), flat(gradient));
    sum.storage_mut::<f32>()
        .par_chunks_mut(BLOCK)
        .zip(values(&gradient).par_chunks(BLOCK))
        .for_each(|(sum, gradient)| vector::add(sum, gradient));
    public(sum)
}

/// [`sum_of_squares`](crate::sum_of_squares) of a tensor on the flex backend. Blocks are summed in float32,
/// and their sums in float64, in the order of the blocks.
pub(crate) fn sum_of_squares(of: Tensor<1>) -> Tensor<1> {
    let of = flat(of);
    let blocks: Vec<f32> = values(&of).par_chunks(BLOCK).map(|block| vector::dot(block, block)).collect();
    let sum: f64 = blocks.into_iter().map(f64::from).sum();
    public(tensor(vec![sum as f32], [1]))
}

/// Returns the tensor in contiguous memory.
fn flat(tensor: Tensor<1>) -> CpuTensor {
    let tensor: FloatTensor<Flex> =
        tensor.try_into_primitive::<Flex>().expect("the caller checked the backend");
    tensor.to_contiguous()
}

fn public(tensor: CpuTensor) -> Tensor<1> {
    Tensor::from_primitive::<Flex>(tensor)
}
