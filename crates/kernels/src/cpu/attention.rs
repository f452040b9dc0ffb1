use std::ops::Range;

use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::{
    CpuOp, CpuTensor,
    linear::dims,
    product::{Into, Matrix, Threads, product},
    tensor, values,
    vector::{self, exp},
};
use crate::{Span, Visibility};

// Shapes: t queries, s keys, d head_dim.

/// [`attention`](crate::attention), one task per row and key-value head, a tile of queries at a time (Dao et al., 2022): the
/// matrix of all scores is never there. The backward pass computes the weights again from the saved log-sums.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub(super) visibility: Visibility,
}

/// Queries of one tile.
const TILE: usize = 64;

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    q: CpuTensor,
    k: CpuTensor,
    v: CpuTensor,
    out: CpuTensor,
    /// `ln Σ exp(score)` of every query, `[batch * kv_heads][group, t]`.
    log_sums: Vec<Vec<f32>>,
}

impl CpuOp<3> for Attention {
    type Saved = Saved;

    fn forward_saving(&self, inputs: [CpuTensor; 3]) -> (CpuTensor, Saved) {
        let [q, k, v] = inputs.map(|input| input.to_contiguous());
        let sizes = Sizes::of(&q, &k);
        let (heads, log_sums): (Vec<_>, Vec<_>) = sizes
            .tasks()
            .map(|task| {
                let (k, v) = (sizes.kv_head(values(&k), task), sizes.kv_head(values(&v), task));
                let mut out = Vec::with_capacity(sizes.group * sizes.queries * sizes.dim);
                let mut log_sums = Vec::with_capacity(sizes.group * sizes.queries);
                for head in 0..sizes.group {
                    let q = sizes.scaled_query_head(values(&q), task, head);
                    self.forward_head(&sizes, task, [&q, &k, &v], &mut out, &mut log_sums);
                }
                (out, log_sums)
            })
            .unzip();
        let out = tensor(sizes.join_query_heads(&heads), q.layout().shape().clone());
        (out.clone(), Saved { q, k, v, out, log_sums })
    }

    fn backward(&self, saved: Saved, gradient: CpuTensor) -> [CpuTensor; 3] {
        let Saved { q, k, v, out, log_sums } = saved;
        let gradient = gradient.to_contiguous();
        let sizes = Sizes::of(&q, &k);
        let gradients: Vec<HeadGradients> = sizes
            .tasks()
            .map(|task| {
                let (k, v) = (sizes.kv_head(values(&k), task), sizes.kv_head(values(&v), task));
                let mut gradients = HeadGradients::zero(&sizes);
                for head in 0..sizes.group {
                    let q = sizes.scaled_query_head(values(&q), task, head);
                    let out = sizes.query_head(values(&out), task, head);
                    let dout = sizes.query_head(values(&gradient), task, head);
                    let log_sums = &log_sums[task][head * sizes.queries..][..sizes.queries];
                    self.backward_head(&sizes, task, [&q, &k, &v, &out, &dout], log_sums, &mut gradients);
                }
                gradients
            })
            .collect();
        let (dq, (dk, dv)): (Vec<_>, (Vec<_>, Vec<_>)) =
            gradients.into_iter().map(|g| (g.q, (g.k, g.v))).unzip();
        let shape = |tensor: &CpuTensor| tensor.layout().shape().clone();
        [
            tensor(sizes.join_query_heads(&dq), shape(&q)),
            tensor(sizes.join_kv_heads(&dk), shape(&k)),
            tensor(sizes.join_kv_heads(&dv), shape(&v)),
        ]
    }
}

/// Gradients of one key-value head and of the query heads that read it: `[group, t, d]`, `[s, d]`, `[s, d]`.
struct HeadGradients {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl HeadGradients {
    fn zero(sizes: &Sizes) -> Self {
        let keys = sizes.keys * sizes.dim;
        Self {
            q: Vec::with_capacity(sizes.group * sizes.queries * sizes.dim),
            k: vec![0.0; keys],
            v: vec![0.0; keys],
        }
    }
}

impl Attention {
    /// Appends the result of one query head, `[t, d]`, and the log-sum of each query. `q` is scaled.
    fn forward_head(
        &self,
        sizes: &Sizes,
        task: usize,
        [q, k, v]: [&[f32]; 3],
        out: &mut Vec<f32>,
        log_sums: &mut Vec<f32>,
    ) {
        let d = sizes.dim;
        for tile in sizes.tiles() {
            let keys = sizes.keys_before(tile.end);
            let mut weights = vec![0.0; tile.len() * keys];
            let q = Matrix::new(&q[tile.start * d..tile.end * d], d);
            product(&mut weights, q, Matrix::new(&k[..keys * d], d).t(), Into::Set, Threads::One);
            for (query, weights) in tile.clone().zip(weights.chunks_exact_mut(keys)) {
                log_sums.push(softmax(weights, self.seen(sizes, task, query)));
            }
            let start = out.len();
            out.resize(start + tile.len() * d, 0.0);
            let weights = Matrix::new(&weights, keys);
            product(&mut out[start..], weights, Matrix::new(&v[..keys * d], d), Into::Set, Threads::One);
        }
    }

    /// Adds one query head's part to the gradients of keys and values, and appends the gradient of its queries.
    fn backward_head(
        &self,
        sizes: &Sizes,
        task: usize,
        [q, k, v, out, dout]: [&[f32]; 5],
        log_sums: &[f32],
        gradients: &mut HeadGradients,
    ) {
        let d = sizes.dim;
        for tile in sizes.tiles() {
            let keys = sizes.keys_before(tile.end);
            let rows = tile.start * d..tile.end * d;
            let (q_tile, dout_tile) = (Matrix::new(&q[rows.clone()], d), Matrix::new(&dout[rows.clone()], d));
            let (k, v) = (Matrix::new(&k[..keys * d], d), Matrix::new(&v[..keys * d], d));
            let mut weights = vec![0.0; tile.len() * keys];
            product(&mut weights, q_tile, k.t(), Into::Set, Threads::One);
            let mut dscores = vec![0.0; tile.len() * keys];
            product(&mut dscores, dout_tile, v.t(), Into::Set, Threads::One);
            for (i, query) in tile.clone().enumerate() {
                let row = i * keys..(i + 1) * keys;
                let pull = vector::dot(&out[query * d..][..d], &dout[query * d..][..d]);
                let seen = self.seen(sizes, task, query);
                score_gradients(&mut weights[row.clone()], &mut dscores[row], seen, log_sums[query], pull);
            }
            let (weights, dscores) = (Matrix::new(&weights, keys), Matrix::new(&dscores, keys));
            product(&mut gradients.v[..keys * d], weights.t(), dout_tile, Into::Add, Threads::One);
            product(&mut gradients.k[..keys * d], dscores.t(), q_tile, Into::Add, Threads::One);
            let start = gradients.q.len();
            gradients.q.resize(start + rows.len(), 0.0);
            product(&mut gradients.q[start..], dscores, k, Into::Set, Threads::One);
            vector::scale(&mut gradients.q[start..], sizes.score_scale());
        }
    }

    /// The keys that a query sees, as two ranges in order, of which the first may be empty.
    fn seen(&self, sizes: &Sizes, task: usize, query: usize) -> [Range<usize>; 2] {
        let at = sizes.keys - sizes.queries + query;
        match &self.visibility {
            Visibility::Causal => [0..0, 0..at + 1],
            Visibility::Spans(spans) => {
                let Span { prefix, own_start } = &spans[task / sizes.kv_heads * sizes.queries + query];
                let own_start = (*own_start as usize).min(at);
                let end = (prefix.end as usize).min(own_start);
                [(prefix.start as usize).min(end)..end, own_start..at + 1]
            }
        }
    }
}

/// Turns the scores of one query into weights that add up to one, zero where it does not see, and returns their log-sum.
fn softmax(scores: &mut [f32], seen: [Range<usize>; 2]) -> f32 {
    let max = vector::max(&scores[seen[0].clone()]).max(vector::max(&scores[seen[1].clone()]));
    hide(scores, &seen);
    let sum: f32 = seen.clone().map(|range| vector::exp_and_sum(&mut scores[range], max)).iter().sum();
    for range in seen {
        vector::scale(&mut scores[range], 1.0 / sum);
    }
    max + sum.ln()
}

/// Turns scores into weights, and gradients of weights into gradients of scores.
fn score_gradients(
    scores: &mut [f32],
    dweights: &mut [f32],
    seen: [Range<usize>; 2],
    log_sum: f32,
    pull: f32,
) {
    hide(scores, &seen);
    hide(dweights, &seen);
    for range in seen {
        seen_gradients(&mut scores[range.clone()], &mut dweights[range], log_sum, pull);
    }
}

#[with_simd]
fn seen_gradients<S: Simd>(scores: &mut [f32], dweights: &mut [f32], log_sum: f32, pull: f32) {
    for (score, dweight) in scores.iter_mut().zip(dweights) {
        *score = exp(*score - log_sum);
        *dweight = *score * (*dweight - pull);
    }
}

/// Zeroes what lies outside two ranges.
fn hide(row: &mut [f32], [prefix, own]: &[Range<usize>; 2]) {
    row[..prefix.start].fill(0.0);
    row[prefix.end..own.start].fill(0.0);
    row[own.end..].fill(0.0);
}

/// The sizes of one call, and where heads lie in `[batch, time, heads, head_dim]`.
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    kv_heads: usize,
    /// Query heads per key-value head.
    group: usize,
    dim: usize,
}

impl Sizes {
    fn of(q: &CpuTensor, k: &CpuTensor) -> Self {
        let ([batch, queries, heads, dim], [_, keys, kv_heads, _]) = (dims(q), dims(k));
        Self { batch, queries, keys, kv_heads, group: heads / kv_heads, dim }
    }

    fn score_scale(&self) -> f32 {
        (self.dim as f64).powf(-0.5) as f32
    }

    fn tasks(&self) -> impl IndexedParallelIterator<Item = usize> + use<> {
        (0..self.batch * self.kv_heads).into_par_iter()
    }

    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let queries = self.queries;
        (0..queries).step_by(TILE).map(move |start| start..queries.min(start + TILE))
    }

    /// How many keys the queries before `end` see at most.
    fn keys_before(&self, end: usize) -> usize {
        self.keys - self.queries + end
    }

    /// A copy of one key-value head, `[s, d]`.
    fn kv_head(&self, x: &[f32], task: usize) -> Vec<f32> {
        let (row, head) = (task / self.kv_heads, task % self.kv_heads);
        copy_head(&x[row * self.keys * self.kv_heads * self.dim..], head, self.kv_heads, self.keys, self.dim)
    }

    /// A copy of one query head of a task, `[t, d]`.
    fn query_head(&self, x: &[f32], task: usize, head: usize) -> Vec<f32> {
        let row = task / self.kv_heads;
        let heads = self.kv_heads * self.group;
        let head = task % self.kv_heads * self.group + head;
        copy_head(&x[row * self.queries * heads * self.dim..], head, heads, self.queries, self.dim)
    }

    /// The same, scaled so that products with keys are scores.
    fn scaled_query_head(&self, x: &[f32], task: usize, head: usize) -> Vec<f32> {
        let mut q = self.query_head(x, task, head);
        vector::scale(&mut q, self.score_scale());
        q
    }

    /// `[batch, s, kv_heads, d]` from one `[s, d]` per task.
    fn join_kv_heads(&self, heads: &[Vec<f32>]) -> Vec<f32> {
        join_heads(heads, self.kv_heads, 1, self.keys, self.dim)
    }

    /// `[batch, t, heads, d]` from one `[group, t, d]` per task.
    fn join_query_heads(&self, heads: &[Vec<f32>]) -> Vec<f32> {
        join_heads(heads, self.kv_heads, self.group, self.queries, self.dim)
    }
}

fn copy_head(x: &[f32], head: usize, heads: usize, time: usize, dim: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(time * dim);
    for token in x.chunks_exact(heads * dim).take(time) {
        out.extend_from_slice(&token[head * dim..][..dim]);
    }
    out
}

fn join_heads(parts: &[Vec<f32>], kv_heads: usize, group: usize, time: usize, dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; parts.len() * group * time * dim];
    out.par_chunks_mut(kv_heads * group * dim).enumerate().for_each(|(token, out)| {
        let (row, at) = (token / time, token % time);
        for (head, out) in out.chunks_exact_mut(dim).enumerate() {
            let part = &parts[row * kv_heads + head / group];
            out.copy_from_slice(&part[(head % group * time + at) * dim..][..dim]);
        }
    });
    out
}
