//! Scaled dot-product attention with grouped query heads.

use burn::{
    backend::Dispatch,
    tensor::{Bool, Int, Tensor, activation::softmax},
};

use crate::attention_mask::AttentionMask;
use crate::cpu::{self, CpuKernels};
use crate::precision::Precision;

/// Scaled dot-product attention with grouped query heads.
///
/// `q` is `[batch, queries, heads, head_dim]`, and `k` and `v` are `[batch, keys, kv_heads, head_dim]`. The
/// result has the shape of `q`. Query head `h` reads key-value head `h / (heads / kv_heads)` (Ainslie et al.,
/// 2023), without copies of keys and values. If there are more keys than queries, the queries are the last
/// ones (see [`AttentionMask`]).
///
/// # Panics
/// If `kv_heads` doesn't divide `heads`, if there are fewer keys than queries, or if there isn't one span per
/// query.
#[must_use]
pub fn attention(
    q_bthe: Tensor<4>,
    k_bske: Tensor<4>,
    v_bske: Tensor<4>,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, h, _] = q_bthe.dims();
    let [_, s, k, _] = k_bske.dims();
    assert!(h.is_multiple_of(k), "{k} key-value heads cannot serve {h} query heads");
    assert!(s >= t, "{t} queries need at least as many keys, there are {s}");
    if let AttentionMask::Spans(spans) = mask {
        assert_eq!(spans.len(), b * t, "one span per query of {b} rows of {t}");
    }
    if cpu::supports(&q_bthe) {
        let [q, k, v] = [q_bthe, k_bske, v_bske].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::grouped_attention(q, k, v, mask.clone(), precision));
    }
    portable(q_bthe, k_bske, v_bske, mask, precision)
}

/// [`attention`] of rows that share a prefix. `prefix` holds its keys and values, `[1, keys, kv_heads,
/// head_dim]` each. Every query attends to the whole prefix, and to the keys of its own row that `mask`
/// allows. The prefix isn't copied for each row.
///
/// Records no graph: there are no gradients.
///
/// # Panics
/// As [`attention`].
#[must_use]
pub fn attention_with_prefix(
    prefix: [Tensor<4>; 2],
    q_bthe: Tensor<4>,
    k_bske: Tensor<4>,
    v_bske: Tensor<4>,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<4> {
    let prefix = prefix.map(Tensor::without_autodiff);
    let [q, k, v] = [q_bthe, k_bske, v_bske].map(Tensor::without_autodiff);
    if cpu::supports(&q) {
        return cpu::attention_with_prefix(prefix, [q, k, v], mask, precision);
    }
    portable_with_prefix(&prefix, q, k, v, mask, precision)
}

fn portable_with_prefix(
    prefix: &[Tensor<4>; 2],
    q_bthe: Tensor<4>,
    k_bske: Tensor<4>,
    v_bske: Tensor<4>,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, ..] = q_bthe.dims();
    let ([_, s, k, e], [_, p, ..]) = (k_bske.dims(), prefix[0].dims());
    let masked_out = mask.masked_out(t, s, &q_bthe.device());
    let [rows, ..] = masked_out.dims();
    let prefix_visible = Tensor::<4, Int>::zeros([rows, 1, t, p], &masked_out.device()).bool();
    let masked_out = Tensor::cat(vec![prefix_visible, masked_out], 3);
    let [keys, values] = [(&prefix[0], k_bske), (&prefix[1], v_bske)]
        .map(|(prefix, own)| Tensor::cat(vec![prefix.clone().expand([b, p, k, e]), own], 1));
    masked_attention(q_bthe, keys, values, masked_out, precision)
}

fn portable(
    q_bthe: Tensor<4>,
    k_bske: Tensor<4>,
    v_bske: Tensor<4>,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<4> {
    let masked_out = mask.masked_out(q_bthe.dims()[1], k_bske.dims()[1], &q_bthe.device());
    masked_attention(q_bthe, k_bske, v_bske, masked_out, precision)
}

/// Attention to the keys that aren't `masked_out`, `[batch or 1, 1, queries, keys]`.
fn masked_attention(
    q_bthe: Tensor<4>,
    k_bske: Tensor<4>,
    v_bske: Tensor<4>,
    masked_out: Tensor<4, Bool>,
    precision: Precision,
) -> Tensor<4> {
    let [b, t, h, e] = q_bthe.dims();
    let [_, s, k, _] = k_bske.dims();
    let g = h / k;

    // The heads of a group are stacked along the queries, so that one matmul serves them all.
    let q = (q_bthe * (e as f64).powf(-0.5)).reshape([b, t, k, g, e]).permute([0, 2, 3, 1, 4]).reshape([
        b,
        k,
        g * t,
        e,
    ]);
    let scores = precision.matmul(q, k_bske.permute([0, 2, 3, 1])).reshape([b, h, t, s]);
    let probabilities = softmax(scores.mask_fill(masked_out.expand([b, h, t, s]), f32::NEG_INFINITY), 3);
    let out = precision.matmul(probabilities.reshape([b, k, g * t, s]), v_bske.swap_dims(1, 2));
    out.reshape([b, h, t, e]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::Precision::F32;
    use super::*;
    use crate::attention_mask::KeySpan;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};

    fn heads(seed: u64, [b, t, h, e]: [usize; 4]) -> Tensor<4> {
        Tensor::<3>::from_data(random([b, t, h * e], seed), &device()).reshape([b, t, h, e])
    }

    /// Attention written out in float64, one query head at a time.
    fn reference(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, mask: &AttentionMask) -> Tensor<4> {
        let ([b, t, h, e], [_, s, kv, _]) = (q.dims(), k.dims());
        let [q, k, v] = [q, k, v].map(|x| x.to_data().iter::<f64>().collect::<Vec<_>>());
        let mut out = vec![0.0_f32; b * t * h * e];
        for (row, query, head) in each_head(b, t, h) {
            let q = &q[((row * t + query) * h + head) * e..][..e];
            let key = |i: usize, x: &[f64]| x[((row * s + i) * kv + head / (h / kv)) * e..][..e].to_vec();
            let at = s - t + query;
            let prefix_visible: Vec<usize> = (0..s)
                .filter(|&i| match mask {
                    AttentionMask::Causal => i <= at,
                    AttentionMask::Spans(spans) => spans[row * t + query].allows(at, i),
                })
                .collect();
            let dot =
                |i: usize| q.iter().zip(key(i, &k)).map(|(a, b)| a * b).sum::<f64>() / (e as f64).sqrt();
            let weights: Vec<f64> = prefix_visible.iter().map(|&i| dot(i).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (&i, weight) in prefix_visible.iter().zip(weights) {
                for (out, v) in out[((row * t + query) * h + head) * e..][..e].iter_mut().zip(key(i, &v)) {
                    *out += (weight / total * v) as f32;
                }
            }
        }
        Tensor::from_data(burn::tensor::TensorData::new(out, [b, t, h, e]), &device())
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
        for mask in [AttentionMask::Causal, spans(b, 5)] {
            let expected = portable(q.clone(), k.clone(), v.clone(), &mask, F32);
            assert_close(&attention(q.clone(), k.clone(), v.clone(), &mask, F32), &expected, 1e-5);
        }
        // Keys and values with different row strides, and rows that aren't contiguous.
        let copied = k.clone().add_scalar(0.0);
        let turned = heads(4, [b, 2, s, 6]).swap_dims(1, 2);
        for k in [copied, turned] {
            let expected = portable(q.clone(), k.clone(), v.clone(), &AttentionMask::Causal, F32);
            assert_close(&attention(q.clone(), k, v.clone(), &AttentionMask::Causal, F32), &expected, 1e-5);
        }
    }

    /// Queries after a prefix that all rows share, compared with rows that hold a copy of it.
    #[test]
    fn a_shared_beginning_is_seen_by_every_row() {
        let (b, p, t) = (3, 70, 67);
        let prefix = [heads(1, [1, p, 2, 6]), heads(2, [1, p, 2, 6])];
        let [q, k, v] = [(3, 4), (4, 2), (5, 2)].map(|(seed, h)| heads(seed, [b, t, h, 6]));
        let copied = [(&prefix[0], &k), (&prefix[1], &v)]
            .map(|(prefix, own)| Tensor::cat(vec![prefix.clone().repeat_dim(0, b), own.clone()], 1));
        for mask in [AttentionMask::Causal, spans(b, t)] {
            let own = mask.masked_out(t, t, &device());
            let prefix_visible = Tensor::<4, Int>::zeros([own.dims()[0], 1, t, p], &device()).bool();
            let masked_out = Tensor::cat(vec![prefix_visible, own], 3);
            let expected = masked_attention(q.clone(), copied[0].clone(), copied[1].clone(), masked_out, F32);
            let inputs = || (prefix.clone(), q.clone(), k.clone(), v.clone());
            let (prefix, q, k, v) = inputs();
            assert_close(&attention_with_prefix(prefix, q, k, v, &mask, F32), &expected, 1e-5);
            let (prefix, q, k, v) = inputs();
            assert_close(&portable_with_prefix(&prefix, q, k, v, &mask, F32), &expected, 1e-5);
        }
    }

    fn spans(batch: usize, time: usize) -> AttentionMask {
        let own = |i: u32| if i < 2 { 0 } else { 2 + (i - 2) / 2 * 2 };
        let row = (0..time as u32).map(|i| KeySpan { prefix: 0..own(i).min(2), own_start: own(i) });
        AttentionMask::Spans((0..batch).flat_map(|_| row.clone()).collect())
    }

    #[test]
    fn equals_the_definition() {
        for (t, s, h, kv, e) in [(1, 1, 1, 1, 2), (5, 5, 4, 4, 6), (7, 7, 6, 2, 10), (2, 9, 4, 1, 100)] {
            let (q, k, v) = (heads(1, [2, t, h, e]), heads(2, [2, s, kv, e]), heads(3, [2, s, kv, e]));
            for mask in [AttentionMask::Causal, spans(2, t)] {
                let expected = reference(&q, &k, &v, &mask);
                let actual = attention(q.clone(), k.clone(), v.clone(), &mask, F32);
                assert_close(&actual, &expected, 2e-6);
            }
        }
    }

    #[test]
    fn huge_scores_stay_finite() {
        let q = heads(1, [1, 3, 1, 4]) * 1e4;
        let out = attention(q.clone(), q.clone(), q, &AttentionMask::Causal, F32);
        assert!(out.into_data().iter::<f32>().all(f32::is_finite));
    }

    #[test]
    fn gradients_match_finite_differences() {
        for mask in [AttentionMask::Causal, spans(2, 5)] {
            check_gradients(
                &[random([2, 5, 12], 1), random([2, 5, 6], 2), random([2, 5, 6], 3)],
                move |[q, k, v]| {
                    let (q, k, v) =
                        (q.reshape([2, 5, 4, 3]), k.reshape([2, 5, 2, 3]), v.reshape([2, 5, 2, 3]));
                    attention(q, k, v, &mask, F32).reshape([2, 5, 12])
                },
            );
        }
    }

    #[test]
    fn both_bodies_agree() {
        for [b, t, s, h, kv, e] in
            [[1, 1, 1, 1, 1, 2], [2, 70, 70, 4, 2, 10], [1, 65, 65, 3, 3, 100], [2, 3, 131, 4, 1, 8]]
        {
            for mask in [AttentionMask::Causal, spans(b, t)] {
                let flat = [b, t, h * e];
                let heads = |[q, k, v]: [Tensor<3>; 3]| {
                    (q.reshape([b, t, h, e]), k.reshape([b, s, kv, e]), v.reshape([b, s, kv, e]))
                };
                check_bodies(
                    &[random(flat, 1), random([b, s, kv * e], 2), random([b, s, kv * e], 3)],
                    |inputs| {
                        let (q, k, v) = heads(inputs);
                        attention(q, k, v, &mask, F32).reshape(flat)
                    },
                    |inputs| {
                        let (q, k, v) = heads(inputs);
                        portable(q, k, v, &mask, F32).reshape(flat)
                    },
                );
            }
        }
    }
}
