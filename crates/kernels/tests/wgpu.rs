//! The portable bodies on a GPU backend, with results and gradients compared with those of the CPU bodies.
//! Shapes are tiny, since the GPU may be Mesa's software one.
//!
//!     cargo test --release -p fineline-kernels --features wgpu --test wgpu
#![cfg(feature = "wgpu")]
#![allow(clippy::cast_possible_wrap, reason = "token ids are small")]

use std::panic::catch_unwind;
use std::sync::LazyLock;

use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use fineline_kernels::{
    AdamW, AttentionMask, FeedForwardWeights, KeySpan, Numerics, Precision, RotaryTable,
    SelfAttentionWeights, adamw, add_to, attention, cross_entropy, embedding, feed_forward, linear,
    self_attention, sum_of_squares, token_logprobs,
};
use fineline_random::Stream;

const NUMERICS: Numerics = Numerics { eps: 1e-5, precision: Precision::F32 };

/// The device, or `None` if this machine has none.
static WGPU: LazyLock<Option<Device>> = LazyLock::new(|| {
    let opened = catch_unwind(|| {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let one = Tensor::<1>::ones([1], &device).into_scalar::<f32>();
        assert_eq!(one.to_bits(), 1.0_f32.to_bits());
        device
    });
    opened.ok()
});

/// Runs `test` with the device, or records that it is skipped.
fn with_wgpu(test: impl FnOnce(&Device)) {
    match &*WGPU {
        Some(device) => test(device),
        None => fineline_testing::skip("a device for wgpu"),
    }
}

fn random(shape: [usize; 3], seed: u64) -> TensorData {
    let mut stream = Stream::new(seed, "kernels/wgpu", 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    TensorData::new(values, shape)
}

/// Asserts that results and gradients on the device equal those of the CPU, up to rounding.
fn check<const N: usize>(shapes: [[usize; 3]; N], body: impl Fn([Tensor<3>; N], &Device) -> Tensor<3>) {
    let on = |device: &Device| -> Vec<Vec<f32>> {
        let autodiff = device.clone().autodiff();
        let inputs: [Tensor<3>; N] =
            std::array::from_fn(|i| Tensor::from_data(random(shapes[i], i as u64), &autodiff).require_grad());
        let result = body(inputs.clone(), &autodiff);
        let projection = Tensor::from_data(random(result.dims(), 99), &autodiff);
        let gradients = (result.clone() * projection).sum().backward();
        let values = inputs.iter().map(|input| input.grad(&gradients).expect("every input is tracked"));
        [result.inner()].into_iter().chain(values).map(|tensor| tensor.into_data().iter().collect()).collect()
    };
    with_wgpu(|device| {
        for (index, (actual, expected)) in on(device).into_iter().zip(on(&Device::flex())).enumerate() {
            let largest = expected.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
            assert_eq!(actual.len(), expected.len());
            for (actual, expected) in actual.into_iter().zip(expected) {
                assert!(
                    (actual - expected).abs() <= 1e-4 * largest,
                    "{index}: {actual} instead of {expected}"
                );
            }
        }
    });
}

fn texts(batch: usize, time: usize) -> AttentionMask {
    let own_start = |i: usize| if i < 2 { 0 } else { 2 + (i - 2) / 3 * 3 } as u32;
    let row = (0..time).map(|i| KeySpan { prefix: 0..own_start(i).min(2), own_start: own_start(i) });
    AttentionMask::Spans((0..batch).flat_map(|_| row.clone()).collect())
}

fn ints<const D: usize>(count: usize, below: usize, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let values: Vec<i32> = (0..count).map(|i| (i * 7 % below) as i32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn linear_and_embedding() {
    check([[2, 3, 5], [1, 7, 5]], |[x, w], _| linear(x, w.squeeze_dim(0), Precision::F32));
    check([[1, 11, 6]], |[w], device| embedding(w.squeeze_dim(0), ints(8, 11, [2, 4], device)));
}

#[test]
fn attention_of_grouped_heads() {
    for mask in [AttentionMask::Causal, texts(2, 7)] {
        check([[2, 7, 24], [2, 7, 12], [2, 7, 12]], |[q, k, v], _| {
            let (q, k, v) = (q.reshape([2, 7, 4, 6]), k.reshape([2, 7, 2, 6]), v.reshape([2, 7, 2, 6]));
            attention(q, k, v, &mask, Precision::F32).reshape([2, 7, 24])
        });
    }
}

#[test]
fn blocks_of_the_residual_stream() {
    check([[2, 3, 5], [1, 1, 5], [1, 7, 5], [1, 7, 5], [1, 5, 7]], |[x, norm, gate, up, down], _| {
        let [gate, up, down] = [gate, up, down].map(|weight| weight.squeeze_dim(0));
        feed_forward(x, FeedForwardWeights { norm: norm.flatten(0, 2), gate, up, down }, NUMERICS)
    });
    let shapes = [[2, 5, 6], [1, 1, 6], [1, 16, 6], [1, 8, 6], [1, 8, 6], [1, 6, 16]];
    check(shapes, |[x, norm, q, k, v, out], device| {
        let rotary = RotaryTable::new(&[0, 1, 2, 3, 4], 5, 4, 10_000.0, device);
        let [q, k, v, out] = [q, k, v, out].map(|weight| weight.squeeze_dim(0));
        let weights = SelfAttentionWeights { norm: norm.flatten(0, 2), q, k, v, out };
        self_attention(x, weights, &rotary, &AttentionMask::Causal, NUMERICS)
    });
}

#[test]
fn losses() {
    check([[1, 6, 5], [1, 9, 5]], |[hidden, head], device| {
        let weights = Tensor::<1>::from_data([0.5, 0.0, 0.25, 1.0, 0.0, 2.0], device);
        let targets = ints(6, 9, [6], device);
        cross_entropy(hidden.squeeze_dim(0), head.squeeze_dim(0), targets, weights).reshape([1, 1, 1])
    });
    with_wgpu(|device| {
        let on = |device: &Device| {
            let [hidden, head] = [([1, 6, 5], 1), ([1, 9, 5], 2)]
                .map(|(shape, seed)| Tensor::<3>::from_data(random(shape, seed), device).squeeze_dim(0));
            token_logprobs(hidden, head, ints(6, 9, [6], device))
        };
        let (actual, expected) = (on(device), on(&Device::flex()));
        assert_eq!(actual.greedy, expected.greedy);
        let pairs = actual.logprob.iter().zip(&expected.logprob);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
    });
}

#[test]
fn gradient_operations() {
    let update = AdamW {
        lr: 0.1,
        betas: [0.9, 0.95],
        eps: 1e-8,
        weight_decay: 0.1,
        bias_corrections: [0.1, 0.05],
        gradient_scale: 0.5,
    };
    let on = |device: &Device| -> Vec<f32> {
        let [p, g, m, v] = [1, 2, 3, 4]
            .map(|seed| Tensor::<3>::from_data(random([1, 1, 33], seed), device).flatten::<1>(0, 2));
        let squares = sum_of_squares(g.clone());
        let sum = add_to(p.clone(), g.clone());
        let (p, [m, v]) = adamw(p, g, [m, v.abs()], &update);
        Tensor::cat(vec![p, m, v, sum, squares], 0).into_data().iter().collect()
    };
    with_wgpu(|device| {
        let pairs = on(device).into_iter().zip(on(&Device::flex()));
        for (actual, expected) in pairs {
            assert!(
                (actual - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{actual} instead of {expected}"
            );
        }
    });
}
