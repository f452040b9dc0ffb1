use burn::{
    backend::Dispatch,
    tensor::{Bool, Int, Tensor, activation::softmax},
};

use crate::cpu::{self, CpuKernels};
use crate::precision::Precision;
use crate::visibility::Visibility;

// Shapes: b batch, t queries, s keys, h query heads, k key-value heads, g query heads per key-value head, d head_dim.

/// Scaled dot-product attention with grouped query heads.
///
/// `q` is `[batch, queries, heads, head_dim]`, `k` and `v` `[batch, keys, kv_heads, head_dim]`; the result has the shape of `q`.
/// Query head `h` reads key-value head `h / (heads / kv_heads)` (Ainslie et al., 2023), without copies of keys and values.
/// With more keys than queries, the queries are the last ones (see [`Visibility`]).
///
/// # Panics
/// If `kv_heads` does not divide `heads`, there are fewer keys than queries, or spans are not one per query.
#[must_use]
pub fn attention(
    q_bthd: Tensor<4>,
    k_bskd: Tensor<4>,
    v_bskd: Tensor<4>,
    visibility: &Visibility,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, h, _] = q_bthd.dims();
    let [_, s, k, _] = k_bskd.dims();
    assert!(h.is_multiple_of(k), "{k} key-value heads cannot serve {h} query heads");
    assert!(s >= t, "{t} queries need at least as many keys, there are {s}");
    if let Visibility::Spans(spans) = visibility {
        assert_eq!(spans.len(), b * t, "one span per query of {b} rows of {t}");
    }
    if cpu::takes(&q_bthd) {
        let [q, k, v] = [q_bthd, k_bskd, v_bskd].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::grouped_attention(q, k, v, visibility.clone(), precision));
    }
    portable(q_bthd, k_bskd, v_bskd, visibility, precision)
}

/// [`attention`] of rows that all go on from one text, whose keys and values are `before`, `[1, keys, kv_heads, head_dim]` each: every query
/// sees all of them, besides what `visibility` lets it see of its own row. Nothing is copied to each row.
///
/// Keeps no graph: there are no gradients.
///
/// # Panics
/// As [`attention`].
#[must_use]
pub fn attention_after(
    before: [Tensor<4>; 2],
    q_bthd: Tensor<4>,
    k_bskd: Tensor<4>,
    v_bskd: Tensor<4>,
    visibility: &Visibility,
    precision: Precision,
) -> Tensor<4> {
    let before = before.map(Tensor::without_autodiff);
    let [q, k, v] = [q_bthd, k_bskd, v_bskd].map(Tensor::without_autodiff);
    if cpu::takes(&q) {
        return cpu::attention_after(before, [q, k, v], visibility, precision);
    }
    portable_after(&before, q, k, v, visibility, precision)
}

fn portable_after(
    before: &[Tensor<4>; 2],
    q_bthd: Tensor<4>,
    k_bskd: Tensor<4>,
    v_bskd: Tensor<4>,
    visibility: &Visibility,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, ..] = q_bthd.dims();
    let ([_, s, k, d], [_, p, ..]) = (k_bskd.dims(), before[0].dims());
    let hidden = visibility.hidden(t, s, &q_bthd.device());
    let [rows, ..] = hidden.dims();
    let seen = Tensor::<4, Int>::zeros([rows, 1, t, p], &hidden.device()).bool();
    let hidden = Tensor::cat(vec![seen, hidden], 3);
    let [keys, values] = [(&before[0], k_bskd), (&before[1], v_bskd)]
        .map(|(before, own)| Tensor::cat(vec![before.clone().expand([b, p, k, d]), own], 1));
    masked(q_bthd, keys, values, hidden, precision)
}

fn portable(
    q_bthd: Tensor<4>,
    k_bskd: Tensor<4>,
    v_bskd: Tensor<4>,
    visibility: &Visibility,
    precision: Precision,
) -> Tensor<4> {
    let hidden = visibility.hidden(q_bthd.dims()[1], k_bskd.dims()[1], &q_bthd.device());
    masked(q_bthd, k_bskd, v_bskd, hidden, precision)
}

/// Attention to the keys that are not `hidden`, `[batch or 1, 1, queries, keys]`.
fn masked(
    q_bthd: Tensor<4>,
    k_bskd: Tensor<4>,
    v_bskd: Tensor<4>,
    hidden: Tensor<4, Bool>,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, h, d] = q_bthd.dims();
    let [_, s, k, _] = k_bskd.dims();
    let g = h / k;

    // The heads of a group are stacked along time, so that one product serves them all.
    let q = (q_bthd * (d as f64).powf(-0.5)).reshape([b, t, k, g, d]).permute([0, 2, 3, 1, 4]).reshape([
        b,
        k,
        g * t,
        d,
    ]);
    let scores = precision.matmul(q, k_bskd.permute([0, 2, 3, 1])).reshape([b, h, t, s]);
    let probabilities = softmax(scores.mask_fill(hidden.expand([b, h, t, s]), f32::NEG_INFINITY), 3);
    let out = precision.matmul(probabilities.reshape([b, k, g * t, s]), v_bskd.swap_dims(1, 2));
    out.reshape([b, h, t, d]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::Precision::F32;
    use super::*;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};
    use crate::visibility::Span;

    fn heads(seed: u64, [b, t, h, d]: [usize; 4]) -> Tensor<4> {
        Tensor::<3>::from_data(random([b, t, h * d], seed), &device()).reshape([b, t, h, d])
    }

    /// Attention written out, one query head at a time, in float64.
    fn reference(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, visibility: &Visibility) -> Tensor<4> {
        let ([b, t, h, d], [_, s, kv, _]) = (q.dims(), k.dims());
        let [q, k, v] = [q, k, v].map(|x| x.to_data().iter::<f64>().collect::<Vec<_>>());
        let mut out = vec![0.0_f32; b * t * h * d];
        for (row, query, head) in each_head(b, t, h) {
            let q = &q[((row * t + query) * h + head) * d..][..d];
            let key = |i: usize, x: &[f64]| x[((row * s + i) * kv + head / (h / kv)) * d..][..d].to_vec();
            let at = s - t + query;
            let seen: Vec<usize> = (0..s)
                .filter(|&i| match visibility {
                    Visibility::Causal => i <= at,
                    Visibility::Spans(spans) => spans[row * t + query].sees(at, i),
                })
                .collect();
            let dot =
                |i: usize| q.iter().zip(key(i, &k)).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt();
            let weights: Vec<f64> = seen.iter().map(|&i| dot(i).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (&i, weight) in seen.iter().zip(weights) {
                for (out, v) in out[((row * t + query) * h + head) * d..][..d].iter_mut().zip(key(i, &v)) {
                    *out += (weight / total * v) as f32;
                }
            }
        }
        Tensor::from_data(burn::tensor::TensorData::new(out, [b, t, h, d]), &device())
    }

    fn each_head(b: usize, t: usize, h: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..b * t * h).map(move |i| (i / (t * h), i / h % t, i % h))
    }

    /// Keys and values that are the beginnings of longer rows, as those of a cache are.
    #[test]
    fn beginnings_of_longer_rows_are_read_where_they_are() {
        let (b, s, room) = (3, 70, 90);
        let [k, v] = [heads(1, [b, room, 2, 6]), heads(2, [b, room, 2, 6])].map(|x| x.narrow(1, 0, s));
        let q = heads(3, [b, 5, 4, 6]);
        for visibility in [Visibility::Causal, spans(b, 5)] {
            let expected = portable(q.clone(), k.clone(), v.clone(), &visibility, F32);
            assert_close(&attention(q.clone(), k.clone(), v.clone(), &visibility, F32), &expected, 1e-5);
        }
        // Rows of keys and of values that lie differently apart, and rows that don't lie together.
        let copied = k.clone().add_scalar(0.0);
        let turned = heads(4, [b, 2, s, 6]).swap_dims(1, 2);
        for k in [copied, turned] {
            let expected = portable(q.clone(), k.clone(), v.clone(), &Visibility::Causal, F32);
            assert_close(&attention(q.clone(), k, v.clone(), &Visibility::Causal, F32), &expected, 1e-5);
        }
    }

    /// Queries after a text that all rows share, against rows that hold a copy of it.
    #[test]
    fn a_shared_beginning_is_seen_by_every_row() {
        let (b, p, t) = (3, 70, 67);
        let before = [heads(1, [1, p, 2, 6]), heads(2, [1, p, 2, 6])];
        let [q, k, v] = [(3, 4), (4, 2), (5, 2)].map(|(seed, h)| heads(seed, [b, t, h, 6]));
        let copied = [(&before[0], &k), (&before[1], &v)]
            .map(|(before, own)| Tensor::cat(vec![before.clone().repeat_dim(0, b), own.clone()], 1));
        for visibility in [Visibility::Causal, spans(b, t)] {
            let own = visibility.hidden(t, t, &device());
            let seen = Tensor::<4, Int>::zeros([own.dims()[0], 1, t, p], &device()).bool();
            let hidden = Tensor::cat(vec![seen, own], 3);
            let expected = masked(q.clone(), copied[0].clone(), copied[1].clone(), hidden, F32);
            let inputs = || (before.clone(), q.clone(), k.clone(), v.clone());
            let (before, q, k, v) = inputs();
            assert_close(&attention_after(before, q, k, v, &visibility, F32), &expected, 1e-5);
            let (before, q, k, v) = inputs();
            assert_close(&portable_after(&before, q, k, v, &visibility, F32), &expected, 1e-5);
        }
    }

    fn spans(batch: usize, time: usize) -> Visibility {
        let own = |i: u32| if i < 2 { 0 } else { 2 + (i - 2) / 2 * 2 };
        let row = (0..time as u32).map(|i| Span { prefix: 0..own(i).min(2), own_start: own(i) });
        Visibility::Spans((0..batch).flat_map(|_| row.clone()).collect())
    }

    #[test]
    fn equals_the_definition() {
        for (t, s, h, kv, d) in [(1, 1, 1, 1, 2), (5, 5, 4, 4, 6), (7, 7, 6, 2, 10), (2, 9, 4, 1, 100)] {
            let (q, k, v) = (heads(1, [2, t, h, d]), heads(2, [2, s, kv, d]), heads(3, [2, s, kv, d]));
            for visibility in [Visibility::Causal, spans(2, t)] {
                let expected = reference(&q, &k, &v, &visibility);
                let actual = attention(q.clone(), k.clone(), v.clone(), &visibility, F32);
                assert_close(&actual, &expected, 2e-6);
            }
        }
    }

    #[test]
    fn huge_scores_stay_finite() {
        let q = heads(1, [1, 3, 1, 4]) * 1e4;
        let out = attention(q.clone(), q.clone(), q, &Visibility::Causal, F32);
        assert!(out.into_data().iter::<f32>().all(f32::is_finite));
    }

    #[test]
    fn gradients_match_finite_differences() {
        for visibility in [Visibility::Causal, spans(2, 5)] {
            check_gradients(
                &[random([2, 5, 12], 1), random([2, 5, 6], 2), random([2, 5, 6], 3)],
                move |[q, k, v]| {
                    let (q, k, v) =
                        (q.reshape([2, 5, 4, 3]), k.reshape([2, 5, 2, 3]), v.reshape([2, 5, 2, 3]));
                    attention(q, k, v, &visibility, F32).reshape([2, 5, 12])
                },
            );
        }
    }

    #[test]
    fn both_bodies_agree() {
        for [b, t, s, h, kv, d] in
            [[1, 1, 1, 1, 1, 2], [2, 70, 70, 4, 2, 10], [1, 65, 65, 3, 3, 100], [2, 3, 131, 4, 1, 8]]
        {
            for visibility in [Visibility::Causal, spans(b, t)] {
                let flat = [b, t, h * d];
                let heads = |[q, k, v]: [Tensor<3>; 3]| {
                    (q.reshape([b, t, h, d]), k.reshape([b, s, kv, d]), v.reshape([b, s, kv, d]))
                };
                check_bodies(
                    &[random(flat, 1), random([b, s, kv * d], 2), random([b, s, kv * d], 3)],
                    |inputs| {
                        let (q, k, v) = heads(inputs);
                        attention(q, k, v, &visibility, F32).reshape(flat)
                    },
                    |inputs| {
                        let (q, k, v) = heads(inputs);
                        portable(q, k, v, &visibility, F32).reshape(flat)
                    },
                );
            }
        }
    }
}
