//! Shared by the tests of the kernels: random tensors and finite differences.

use burn::tensor::{Device, Tensor, TensorData};
use fineline_random::Stream;

/// The device under test.
pub(crate) fn device() -> Device {
    Device::flex()
}

/// Standard normal values.
pub(crate) fn random(shape: [usize; 3], seed: u64) -> TensorData {
    let mut stream = Stream::new(seed, "kernels/test", 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    TensorData::new(values, shape)
}

/// Asserts that no element differs by more than `tolerance`.
pub(crate) fn assert_close<const D: usize>(actual: &Tensor<D>, expected: &Tensor<D>, tolerance: f32) {
    assert_eq!(actual.dims(), expected.dims());
    let pairs = actual.to_data().iter::<f32>().zip(expected.to_data().iter::<f32>()).collect::<Vec<_>>();
    for (i, (a, e)) in pairs.into_iter().enumerate() {
        assert!((a - e).abs() <= tolerance, "element {i} is {a} instead of {e}");
    }
}

/// Compares the gradients of a random projection of `f` with central differences, for every element of every
/// input.
///
/// The projection gives each output a different weight. The differences are computed from float32 outputs
/// that are summed in float64, hence a step of 1e-2 and a tolerance of 2e-3 of the largest gradient.
pub(crate) fn check_gradients<const N: usize>(
    inputs: &[TensorData; N],
    f: impl Fn([Tensor<3>; N]) -> Tensor<3>,
) {
    let step = 1e-2_f32;
    let tensors = |inputs: &[TensorData; N], device: &Device| {
        std::array::from_fn(|i| Tensor::<3>::from_data(inputs[i].clone(), device))
    };
    let shape = f(tensors(inputs, &device())).dims();
    let projection: Vec<f64> = random(shape, 99).iter::<f64>().collect();
    let objective = |inputs: &[TensorData; N]| -> f64 {
        let out = f(tensors(inputs, &device())).into_data();
        out.iter::<f64>().zip(&projection).map(|(y, p)| y * p).sum()
    };

    let autodiff = device().autodiff();
    let tracked = tensors(inputs, &autodiff).map(Tensor::require_grad);
    let out = f(tracked.clone());
    let gradients = (out * Tensor::from_data(random(shape, 99), &autodiff)).sum().backward();

    for (i, input) in inputs.iter().enumerate() {
        let gradient: Vec<f64> =
            tracked[i].grad(&gradients).expect("every input is tracked").into_data().iter::<f64>().collect();
        let largest = gradient.iter().fold(1.0_f64, |a, g| a.max(g.abs()));
        for (j, actual) in gradient.iter().enumerate() {
            let at = |delta: f32| {
                let mut inputs = inputs.clone();
                let mut values: Vec<f32> = input.iter::<f32>().collect();
                values[j] += delta;
                inputs[i] = TensorData::new(values, input.shape().clone());
                objective(&inputs)
            };
            let expected = (at(step) - at(-step)) / (2.0 * f64::from(step));
            assert!(
                (actual - expected).abs() < 2e-3 * largest,
                "gradient of input {i}, element {j} is {actual} instead of {expected}"
            );
        }
    }
}

/// Asserts that two bodies of an operation give the same result and the same gradients, up to float32
/// rounding.
pub(crate) fn check_bodies<const N: usize>(
    inputs: &[TensorData; N],
    fast: impl Fn([Tensor<3>; N]) -> Tensor<3>,
    portable: impl Fn([Tensor<3>; N]) -> Tensor<3>,
) {
    check_bodies_within(1e-5, inputs, fast, portable);
}

/// Two roundings to bfloat16: portable bodies round the results of matmuls in addition to their factors.
pub(crate) const BF16_TOLERANCE: f32 = 1.0 / 128.0;

/// Asserts that results and gradients of the two bodies differ by at most this fraction of the largest value.
pub(crate) fn check_bodies_within<const N: usize>(
    tolerance: f32,
    inputs: &[TensorData; N],
    fast: impl Fn([Tensor<3>; N]) -> Tensor<3>,
    portable: impl Fn([Tensor<3>; N]) -> Tensor<3>,
) {
    let device = device().autodiff();
    let run = |f: &dyn Fn([Tensor<3>; N]) -> Tensor<3>| {
        let tracked: [Tensor<3>; N] =
            std::array::from_fn(|i| Tensor::from_data(inputs[i].clone(), &device).require_grad());
        let out = f(tracked.clone());
        let projection = Tensor::from_data(random(out.dims(), 99), &device);
        let gradients = (out.clone() * projection).sum().backward();
        let mut results = vec![out.without_autodiff()];
        results.extend(tracked.iter().map(|input| input.grad(&gradients).expect("every input is tracked")));
        results
    };
    for (actual, expected) in run(&fast).iter().zip(run(&portable)) {
        let largest = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
        assert_close(actual, &expected, tolerance * largest);
    }
}
