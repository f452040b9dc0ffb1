//! Each operation and its gradients, compared with the same operation written out in float64, on randomly
//! drawn shapes: odd sizes, one row, grouped heads, heads of 100, lengths that aren't multiples of a tile.
//!
//! Gradients are compared with central differences of the float64 version, whose error is far below that of
//! float32.
#![allow(clippy::cast_possible_wrap, reason = "token ids are small")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use fineline_kernels::{
    AdamW, AttentionMask, FeedForwardWeights, KeySpan, Numerics, Precision, RotaryTable,
    SelfAttentionWeights, adamw, add, attention, cross_entropy, embedding, feed_forward, linear, rms_norm,
    rope, self_attention, sum_of_squares, swiglu, token_logprobs,
};
use fineline_random::Stream;
use proptest::{prelude::*, test_runner::RngSeed};

const NUMERICS: Numerics = Numerics { eps: 1e-5, precision: Precision::F32 };

/// Rows of numbers, row-major: `[shape[0], shape[1], shape[2]]`.
#[derive(Clone)]
struct Array {
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Array {
    /// Standard normal values that float32 represents exactly.
    fn random(shape: [usize; 3], seed: u64) -> Self {
        let mut stream = Stream::new(seed, "kernels/reference", 0);
        let values = (0..shape.iter().product()).map(|_| f64::from(stream.normal() as f32)).collect();
        Self { shape, values }
    }

    /// A weight `[1, out, in]` scaled as in models, so that its output has the scale of its input. Larger
    /// scores would make softmax amplify the rounding of a score a thousandfold.
    fn weight(shape: [usize; 3], seed: u64) -> Self {
        let scale = (shape[2] as f64).powf(-0.5);
        let mut weight = Self::random(shape, seed);
        for value in &mut weight.values {
            *value = f64::from((*value * scale) as f32);
        }
        weight
    }

    fn tensor(&self, device: &Device) -> Tensor<3> {
        let values: Vec<f32> = self.values.iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape), device)
    }

    fn width(&self) -> usize {
        self.shape[2]
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width())
    }

    fn with(&self, values: Vec<f64>) -> Self {
        let width = values.len() / (self.shape[0] * self.shape[1]);
        Self { shape: [self.shape[0], self.shape[1], width], values }
    }
}

/// Compares `actual` with `exact` at `inputs`: the result, and the gradients of a random projection of it.
fn check<const N: usize>(
    inputs: &[Array; N],
    actual: impl Fn([Tensor<3>; N]) -> Tensor<3>,
    exact: impl Fn(&[Array; N]) -> Array,
) {
    /// Number of elements of each input whose gradients are compared, spread over the input.
    const ELEMENTS: usize = 9;

    let device = Device::flex().autodiff();
    let tracked = inputs.each_ref().map(|input| input.tensor(&device).require_grad());
    let result = actual(tracked.clone());
    let expected = exact(inputs);
    assert_eq!(result.dims().iter().product::<usize>(), expected.values.len());
    close("result", result.to_data().iter::<f64>().zip(expected.values.iter().copied()));

    let projection = Array::random(result.dims(), 99);
    let gradients = (result * projection.tensor(&device)).sum().backward();
    let objective = |inputs: &[Array; N]| -> f64 {
        exact(inputs).values.iter().zip(&projection.values).map(|(y, p)| y * p).sum()
    };
    let gradients_of = |(index, input): (usize, &Array)| -> Vec<(f64, f64)> {
        let gradient: Vec<f64> =
            tracked[index].grad(&gradients).expect("every input is tracked").into_data().iter().collect();
        let step = input.values.len().div_ceil(ELEMENTS);
        let elements = (0..input.values.len()).step_by(step);
        let with_difference = |element: usize| {
            let at = |delta: f64| {
                let mut inputs = inputs.clone();
                inputs[index].values[element] += delta;
                objective(&inputs)
            };
            (gradient[element], (at(1e-5) - at(-1e-5)) / 2e-5)
        };
        elements.map(with_difference).collect()
    };
    let gradients: Vec<_> = inputs.iter().enumerate().map(gradients_of).collect();
    // If the terms of a gradient cancel out (a query with a single visible key), they are as large as the
    // gradients of other inputs. A few of their units in the last place remain.
    let largest = gradients.iter().flatten().fold(0.0_f64, |largest, (_, exact)| largest.max(exact.abs()));
    for (index, pairs) in gradients.into_iter().enumerate() {
        close_within(&format!("gradient of input {index}"), pairs, 1e-6 * largest);
    }
}

/// Asserts that pairs differ by at most the float32 rounding of sums of their size.
fn close(what: &str, pairs: impl Iterator<Item = (f64, f64)>) {
    close_within(what, pairs.collect(), 0.0);
}

/// As [`close`], with an additional tolerance.
fn close_within(what: &str, pairs: Vec<(f64, f64)>, allowance: f64) {
    let largest = pairs.iter().fold(1.0_f64, |largest, (_, exact)| largest.max(exact.abs()));
    for (i, (actual, exact)) in pairs.into_iter().enumerate() {
        let tolerance = 2e-5 * largest + allowance;
        assert!((actual - exact).abs() <= tolerance, "{what}, {i}: {actual} instead of {exact}");
    }
}

mod exact {
    use super::{Array, AttentionMask, KeySpan};

    pub(super) fn linear(x: &Array, weight: &Array) -> Array {
        let dots = x.rows().flat_map(|x| weight.rows().map(move |w| dot(x, w)));
        x.with(dots.collect())
    }

    pub(super) fn rms_norm(x: &Array, weight: &Array, eps: f64) -> Array {
        let normed = x.rows().flat_map(|x| {
            let scale = (dot(x, x) / x.len() as f64 + eps).sqrt().recip();
            x.iter().zip(&weight.values).map(move |(x, w)| x * scale * w)
        });
        x.with(normed.collect())
    }

    pub(super) fn swiglu(gate: &Array, up: &Array) -> Array {
        let gated = gate.values.iter().zip(&up.values).map(|(g, u)| g / (1.0 + (-g).exp()) * u);
        gate.with(gated.collect())
    }

    pub(super) fn add(x: &Array, y: &Array) -> Array {
        x.with(x.values.iter().zip(&y.values).map(|(x, y)| x + y).collect())
    }

    /// Half-split rotation. Angles are rounded to float32, as in the reference implementation.
    pub(super) fn rope(x: &Array, head_dim: usize, theta: f64) -> Array {
        let half = head_dim / 2;
        let mut out = x.clone();
        for (token, row) in out.values.chunks_exact_mut(x.shape[2]).enumerate() {
            let position = (token % x.shape[1]) as f32;
            for head in row.chunks_exact_mut(head_dim) {
                for i in 0..half {
                    let frequency = 1.0 / theta.powf(f64::from(2.0 * i as f32 / head_dim as f32)) as f32;
                    let (sin, cos) = f64::from(position * frequency).sin_cos();
                    let (a, b) = (head[i], head[i + half]);
                    (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
        }
        out
    }

    pub(super) fn attention([q, k, v]: [&Array; 3], dim: usize, mask: &AttentionMask) -> Array {
        let ([_, t, q_width], [_, s, kv_width]) = (q.shape, k.shape);
        let group = q_width / kv_width;
        let mut out = Vec::with_capacity(q.values.len());
        for (token, query) in q.rows().enumerate() {
            let (row, at) = (token / t, s - t + token % t);
            let seen: Vec<usize> = (0..s).filter(|&key| sees(mask, token, at, key)).collect();
            for (head, query) in query.chunks_exact(dim).enumerate() {
                let of = |x: &Array, key: usize| -> Vec<f64> {
                    x.values[(row * s + key) * kv_width + head / group * dim..][..dim].to_vec()
                };
                let scores: Vec<f64> =
                    seen.iter().map(|&key| dot(query, &of(k, key)) / (dim as f64).sqrt()).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut output = vec![0.0; dim];
                for (&key, weight) in seen.iter().zip(weights) {
                    output.iter_mut().zip(of(v, key)).for_each(|(output, v)| *output += weight / total * v);
                }
                out.extend(output);
            }
        }
        q.with(out)
    }

    fn sees(mask: &AttentionMask, token: usize, at: usize, key: usize) -> bool {
        match mask {
            AttentionMask::Causal => key <= at,
            AttentionMask::Spans(spans) => {
                let KeySpan { prefix, own_start } = &spans[token];
                let prefix = prefix.start as usize..prefix.end as usize;
                key <= at && (key >= (*own_start as usize).min(at) || prefix.contains(&key))
            }
        }
    }

    /// Returns `Σ w (ln Σ e^logit - logit of the target)` in one element.
    pub(super) fn cross_entropy(hidden: &Array, head: &Array, targets: &[usize], weights: &[f64]) -> Array {
        let logits = linear(hidden, head);
        let losses = logits.rows().zip(targets).zip(weights).map(|((logits, &target), weight)| {
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            weight * (logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest - logits[target])
        });
        Array { shape: [1, 1, 1], values: vec![losses.sum()] }
    }

    pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }
}

/// All earlier tokens, or, in each row, a shared prefix of two tokens and texts of five that don't attend to
/// each other.
fn key_mask(causal: bool, batch: usize, time: usize) -> AttentionMask {
    if causal {
        return AttentionMask::Causal;
    }
    let span = |i: usize| {
        let own_start = if i < 2 { 0 } else { 2 + (i - 2) / 5 * 5 } as u32;
        KeySpan { prefix: 0..own_start.min(2), own_start }
    };
    AttentionMask::Spans((0..batch).flat_map(|_| (0..time).map(span)).collect())
}

fn head_dims() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![2, 6, 10, 32, 100])
}

const THETA: f64 = 10_000.0;

fn rotary(time: usize, dim: usize) -> RotaryTable {
    RotaryTable::new(&(0..time as u32).collect::<Vec<_>>(), time, dim, THETA, &Device::flex())
}

/// The same shapes every time, unless `PROPTEST_RNG_SEED` is set.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        seed @ RngSeed::Fixed(_) => seed,
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn linear_is_exact(b in 1_usize..4, t in 1_usize..70, i in 1_usize..150, o in 1_usize..150) {
        check(
            &[Array::random([b, t, i], 1), Array::random([1, o, i], 2)],
            |[x, w]| linear(x, w.squeeze_dim(0), Precision::F32),
            |[x, w]| exact::linear(x, w),
        );
    }

    #[test]
    fn rms_norm_is_exact(b in 1_usize..4, t in 1_usize..150, d in 1_usize..140) {
        check(
            &[Array::random([b, t, d], 1), Array::random([1, 1, d], 2)],
            |[x, w]| rms_norm(x, w.flatten(0, 2), 1e-5),
            |[x, w]| exact::rms_norm(x, w, 1e-5),
        );
    }

    #[test]
    fn swiglu_and_add_are_exact(b in 1_usize..4, t in 1_usize..150, f in 1_usize..140) {
        let inputs = [Array::random([b, t, f], 1), Array::random([b, t, f], 2)];
        check(&inputs, |[gate, up]| swiglu(gate, up), |[gate, up]| exact::swiglu(gate, up));
        check(&inputs, |[x, y]| add(x, y), |[x, y]| exact::add(x, y));
    }

    #[test]
    fn rope_is_exact(b in 1_usize..4, t in 1_usize..150, h in 1_usize..5, d in head_dims()) {
        check(
            &[Array::random([b, t, h * d], 1)],
            |[x]| rope(x.reshape([b, t, h, d]), &rotary(t, d)).reshape([b, t, h * d]),
            |[x]| exact::rope(x, d, THETA),
        );
    }

    #[test]
    fn embedding_is_exact(b in 1_usize..4, t in 1_usize..50, vocab in 1_usize..700, d in 1_usize..40) {
        let tokens: Vec<i32> = (0..b * t).map(|i| (i * 37 % vocab) as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(tokens.clone(), [b, t]), &Device::flex());
        check(
            &[Array::random([1, vocab, d], 1)],
            |[w]| embedding(w.squeeze_dim(0), ids.clone()),
            |[w]| {
                let row = |&token: &i32| w.values[token as usize * d..][..d].iter().copied();
                let rows = tokens.iter().flat_map(row);
                Array { shape: [b, t, d], values: rows.collect() }
            },
        );
    }

    #[test]
    fn cross_entropy_is_exact(n in 1_usize..60, d in 1_usize..40, vocab in 1_usize..5000) {
        let targets: Vec<usize> = (0..n).map(|i| i * 31 % vocab).collect();
        let weights: Vec<f64> = (0..n).map(|i| (i % 4) as f64 / 8.0).collect();
        let device = Device::flex();
        let ids: Vec<i32> = targets.iter().map(|&target| target as i32).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), &device);
        let factors: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let factors = Tensor::<1>::from_data(TensorData::new(factors, [n]), &device);
        check(
            &[Array::random([1, n, d], 1), Array::random([1, vocab, d], 2)],
            |[hidden, head]| {
                let (hidden, head) = (hidden.squeeze_dim(0), head.squeeze_dim(0));
                cross_entropy(hidden, head, ids.clone(), factors.clone()).reshape([1, 1, 1])
            },
            |[hidden, head]| exact::cross_entropy(hidden, head, &targets, &weights),
        );
    }

    #[test]
    fn token_logprobs_are_exact(n in 1_usize..60, d in 1_usize..40, vocab in 1_usize..5000) {
        let device = Device::flex();
        let (hidden, head) = (Array::random([1, n, d], 1), Array::random([1, vocab, d], 2));
        let logits = exact::linear(&hidden, &head);
        let targets: Vec<i32> = (0..n).map(|i| (i * 31 % vocab) as i32).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(targets.clone(), [n]), &device);
        let [hidden, head] = [hidden, head].map(|array| array.tensor(&device).squeeze_dim(0));
        let scores = token_logprobs(hidden, head, ids);
        let expected = logits.rows().zip(&targets).map(|(logits, &target)| {
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            logits[target as usize] - largest - logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
        });
        close("log-probability", scores.logprob.iter().map(|&x| f64::from(x)).zip(expected));
    }

    #[test]
    fn adamw_is_exact(n in 1_usize..40_000, scale in 0.1_f64..1.0) {
        let update = AdamW {
            lr: 0.01,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.1,
            bias_corrections: [0.271, 0.143],
            gradient_scale: scale,
        };
        let inputs = [1, 2, 3, 4].map(|seed| Array::random([1, 1, n], seed));
        let device = Device::flex();
        let [p, g, m, v] = inputs.each_ref().map(|input| input.tensor(&device).flatten::<1>(0, 2));
        let (parameter, state) = adamw(p, g.clone(), [m, v.abs()], &update);
        let expected: Vec<[f64; 3]> = (0..n).map(|i| {
            let [p, g, m, v] = inputs.each_ref().map(|input| input.values[i]);
            let (g, v) = (g * scale, v.abs());
            let (m, v) = (0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g);
            [p * (1.0 - 0.01 * 0.1) - 0.01 * (m / 0.271) / ((v / 0.143).sqrt() + 1e-8), m, v]
        }).collect();
        let [m, v] = state;
        for (index, actual) in [parameter, m, v].into_iter().enumerate() {
            close("value", actual.into_data().iter::<f64>().zip(expected.iter().map(|exact| exact[index])));
        }
        let squares = f64::from(sum_of_squares(g).into_scalar::<f32>());
        let exact: f64 = inputs[1].values.iter().map(|x| x * x).sum();
        prop_assert!((squares - exact).abs() <= 1e-6 * exact);
    }

    #[test]
    fn feed_forward_is_exact(b in 1_usize..3, t in 1_usize..70, d in 1_usize..40, f in 1_usize..60) {
        let shapes = [[b, t, d], [1, 1, d], [1, f, d], [1, f, d], [1, d, f]];
        let mut seed = 0;
        let inputs = shapes.map(|shape| { seed += 1; Array::random(shape, seed) });
        check(
            &inputs,
            |[x, norm, gate, up, down]| {
                let [gate, up, down] = [gate, up, down].map(|weight| weight.squeeze_dim(0));
                feed_forward(x, FeedForwardWeights { norm: norm.flatten(0, 2), gate, up, down }, NUMERICS)
            },
            |[x, norm, gate, up, down]| {
                let normed = exact::rms_norm(x, norm, 1e-5);
                let gated = exact::swiglu(&exact::linear(&normed, gate), &exact::linear(&normed, up));
                exact::add(x, &exact::linear(&gated, down))
            },
        );
    }
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn attention_is_exact(
        b in 1_usize..3,
        t in 1_usize..140,
        past in 0_usize..20,
        k in 1_usize..3,
        group in 1_usize..4,
        e in head_dims(),
        causal: bool,
    ) {
        let (h, s, mask) = (k * group, t + past, key_mask(causal, b, t));
        check(
            &[
                Array::random([b, t, h * e], 1),
                Array::random([b, s, k * e], 2),
                Array::random([b, s, k * e], 3),
            ],
            |[q, keys, values]| {
                let [keys, values] = [keys, values].map(|x| x.reshape([b, s, k, e]));
                attention(q.reshape([b, t, h, e]), keys, values, &mask, Precision::F32).reshape([b, t, h * e])
            },
            |[q, keys, values]| exact::attention([q, keys, values], e, &mask),
        );
    }

    #[test]
    fn self_attention_is_exact(
        b in 1_usize..3,
        t in 1_usize..100,
        width in 1_usize..30,
        k in 1_usize..3,
        group in 1_usize..4,
        e in head_dims(),
        causal: bool,
    ) {
        let (q, kv, mask) = (k * group * e, k * e, key_mask(causal, b, t));
        let [x, norm] = [Array::random([b, t, width], 1), Array::random([1, 1, width], 2)];
        let mut seed = 2;
        let [queries, keys, values, out] = [[1, q, width], [1, kv, width], [1, kv, width], [1, width, q]]
            .map(|shape| { seed += 1; Array::weight(shape, seed) });
        let inputs = [x, norm, queries, keys, values, out];
        check(
            &inputs,
            |[x, norm, q, k, v, out]| {
                let [q, k, v, out] = [q, k, v, out].map(|weight| weight.squeeze_dim(0));
                let weights = SelfAttentionWeights { norm: norm.flatten(0, 2), q, k, v, out };
                self_attention(x, weights, &rotary(t, e), &mask, NUMERICS)
            },
            |[x, norm, q, k, v, out]| {
                let normed = exact::rms_norm(x, norm, 1e-5);
                let [q, k] = [q, k].map(|weight| exact::rope(&exact::linear(&normed, weight), e, THETA));
                let output = exact::attention([&q, &k, &exact::linear(&normed, v)], e, &mask);
                exact::add(x, &exact::linear(&output, out))
            },
        );
    }
}
