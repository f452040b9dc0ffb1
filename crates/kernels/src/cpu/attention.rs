//! CPU body of attention, by tiles of queries.

use std::ops::Range;

use burn::{backend::Flex, tensor::Tensor};
use macerator::{Simd, with_simd};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::matmul::{Accumulate, MatmulThreads, Matrix, MatrixMut, matmul};
use super::operation::CpuOp;
use super::tensor::{CpuTensor, dims, values};
use super::vector::{self, exp};
use crate::attention_mask::{AttentionMask, KeySpan};
use crate::precision::Precision;

/// [`attention`](crate::attention) with one task per row and key-value head, a tile of queries at a time (Dao
/// et al., 2022), so that the matrix of all scores never exists. The backward pass recomputes the weights
/// from the saved logsumexp of each query. Heads are read and written in place, interleaved as they are in
/// memory.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub(super) mask: AttentionMask,
    pub(super) precision: Precision,
}

/// Number of queries per tile.
const TILE: usize = 64;

/// State saved for the backward pass.
#[derive(Clone, Debug)]
pub(super) struct AttentionSaved {
    qkv: [CpuTensor; 3],
    out: CpuTensor,
    logsumexps: Vec<f32>,
}

impl CpuOp<3> for Attention {
    type Saved = AttentionSaved;

    /// The keys and values of a cache are the beginnings of longer rows. They are read without a copy.
    fn forward(&self, [q, k, v]: [CpuTensor; 3]) -> CpuTensor {
        let (qkv, key_stride) = match (row_stride(&k), row_stride(&v)) {
            (Some(k_stride), Some(v_stride)) if k_stride == v_stride => {
                ([contiguous(q), k, v], Some(k_stride))
            }
            _ => ([q, k, v].map(contiguous), None),
        };
        let mut sizes = AttentionSizes::of(&qkv);
        sizes.key_stride = key_stride.unwrap_or(sizes.key_stride);
        let (out, _) =
            self.forward_heads(&sizes, [values(&qkv[0]), from_start(&qkv[1]), from_start(&qkv[2])]);
        out.into_tensor(qkv[0].layout().shape().clone())
    }

    fn forward_saving(&self, inputs: [CpuTensor; 3]) -> (CpuTensor, AttentionSaved) {
        let qkv = inputs.map(contiguous);
        let (out, logsumexps) = self.forward_heads(&AttentionSizes::of(&qkv), qkv.each_ref().map(values));
        let out = out.into_tensor(qkv[0].layout().shape().clone());
        (out.clone(), AttentionSaved { qkv, out, logsumexps })
    }

    fn backward(
        &self,
        AttentionSaved { qkv, out, logsumexps }: AttentionSaved,
        gradient: CpuTensor,
    ) -> [CpuTensor; 3] {
        let gradient = gradient.to_contiguous();
        let output =
            AttentionForward { qkv: qkv.each_ref().map(values), out: values(&out), logsumexps: &logsumexps };
        let gradients = self.gradients(&AttentionSizes::of(&qkv), &output, values(&gradient));
        let mut shapes = qkv.iter().map(|tensor| tensor.layout().shape().clone());
        gradients.map(|gradient| gradient.into_tensor(shapes.next().expect("one for each")))
    }
}

fn contiguous(tensor: CpuTensor) -> CpuTensor {
    if tensor.layout().is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// Returns the number of values from one row of a `[batch, keys, heads, head_dim]` tensor to the next, if
/// each row is contiguous.
fn row_stride(tensor: &CpuTensor) -> Option<usize> {
    let [_, time, heads, dim]: [usize; 4] = dims(tensor);
    match *tensor.layout().strides() {
        [row, token, head, 1] if token == (heads * dim).cast_signed() && head == dim.cast_signed() => {
            usize::try_from(row).ok().filter(|row| *row >= time * heads * dim)
        }
        _ => None,
    }
}

/// Returns the storage of a tensor from its first value on.
fn from_start(tensor: &CpuTensor) -> &[f32] {
    &tensor.storage()[tensor.layout().start_offset()..]
}

/// [`attention_with_prefix`](crate::attention_with_prefix) of tensors on the flex backend, without autodiff.
pub(crate) fn attention_with_prefix(
    prefix: [Tensor<4>; 2],
    qkv: [Tensor<4>; 3],
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<4> {
    let flat = |tensor: Tensor<4>| -> CpuTensor {
        contiguous(tensor.try_into_primitive::<Flex>().expect("the caller checked the backend"))
    };
    let (prefix, qkv) = (prefix.map(flat), qkv.map(flat));
    let attention = Attention { mask: mask.clone(), precision };
    let output = attention.forward_with_prefix(
        &AttentionSizes::of(&qkv),
        qkv.each_ref().map(values),
        prefix.each_ref(),
    );
    Tensor::from_primitive::<Flex>(output.into_tensor(qkv[0].layout().shape().clone()))
}

/// Inputs and results of a forward pass.
pub(super) struct AttentionForward<'a> {
    pub(super) qkv: [&'a [f32]; 3],
    pub(super) out: &'a [f32],
    pub(super) logsumexps: &'a [f32],
}

/// Inputs of the backward pass of one query head: matrices `[t, e]` or `[s, e]`.
struct HeadBackwardInputs<'a> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    out: Matrix<'a>,
    dout: Matrix<'a>,
    logsumexps: &'a [f32],
}

impl Attention {
    /// Returns the output, and the logsumexp of the scores of every query, `[batch, heads, t]`.
    pub(super) fn forward_heads(&self, sizes: &AttentionSizes, [q, k, v]: [&[f32]; 3]) -> (Buffer, Vec<f32>) {
        let mut out = Buffer::new(q.len());
        let mut logsumexps = vec![0.0; sizes.batch * sizes.heads() * sizes.queries];
        let results =
            sizes.query_heads(&mut out).zip(logsumexps.chunks_exact_mut(sizes.group * sizes.queries));
        let tasks: Vec<_> = sizes.tasks().zip(results).collect();
        tasks.into_par_iter().for_each(|(task, (out, logsumexps))| {
            let [k, v] = [k, v].map(|x| sizes.kv_head(x, task).at(self.precision));
            let heads = out.into_iter().zip(logsumexps.chunks_exact_mut(sizes.queries));
            for (head, (out, logsumexps)) in heads.enumerate() {
                self.forward_head(
                    sizes,
                    task,
                    [sizes.query_head(q, task, head).at(self.precision), k, v],
                    out,
                    logsumexps,
                );
            }
        });
        (out, logsumexps)
    }

    /// Returns the gradients of queries, keys and values.
    pub(super) fn gradients(
        &self,
        sizes: &AttentionSizes,
        output: &AttentionForward<'_>,
        dout: &[f32],
    ) -> [Buffer; 3] {
        let AttentionForward { qkv: [q, k, v], out, logsumexps } = *output;
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|values| Buffer::new(values.len()));
        let results = sizes.query_heads(&mut dq).zip(sizes.kv_heads(&mut dk)).zip(sizes.kv_heads(&mut dv));
        let tasks: Vec<_> =
            sizes.tasks().zip(results).zip(logsumexps.chunks_exact(sizes.group * sizes.queries)).collect();
        tasks.into_par_iter().for_each(|((task, ((dq, mut dk), mut dv)), logsumexps)| {
            let [k, v] = [k, v].map(|x| sizes.kv_head(x, task).at(self.precision));
            let heads = dq.into_iter().zip(logsumexps.chunks_exact(sizes.queries));
            for (head, (dq, logsumexps)) in heads.enumerate() {
                let [q, out, dout] =
                    [q, out, dout].map(|values| sizes.query_head(values, task, head).at(self.precision));
                let accumulate = if head == 0 { Accumulate::Overwrite } else { Accumulate::Add };
                let inputs = HeadBackwardInputs { q, k, v, out, dout, logsumexps };
                self.backward_head(sizes, task, &inputs, dq, [&mut dk, &mut dv], accumulate);
            }
        });
        [dq, dk, dv]
    }

    /// Writes the output of one query head, and the logsumexp of each query.
    fn forward_head(
        &self,
        sizes: &AttentionSizes,
        task: usize,
        [q, k, v]: [Matrix<'_>; 3],
        mut out: MatrixMut<'_>,
        logsumexps: &mut [f32],
    ) {
        let mut scratch = Buffer::new(sizes.scores());
        for tile in sizes.tiles() {
            let keys = sizes.keys_until(tile.end);
            let weights = &mut scratch[..tile.len() * keys];
            let q = q.rows(tile.clone()).scaled(sizes.score_scale());
            matmul(
                MatrixMut::new(weights, keys),
                q,
                k.first_rows(keys).t(),
                Accumulate::Overwrite,
                MatmulThreads::One,
            );
            for (query, weights) in tile.clone().zip(weights.chunks_exact_mut(keys)) {
                logsumexps[query] = softmax(weights, self.visible_keys(sizes, task, query));
            }
            let weights = Matrix::new(weights, keys).at(self.precision);
            matmul(out.rows(tile), weights, v.first_rows(keys), Accumulate::Overwrite, MatmulThreads::One);
        }
    }

    /// Returns the output where every query attends to all of `prefix`, one row shared by the batch, and to
    /// the keys of its own row that the mask allows.
    fn forward_with_prefix(
        &self,
        sizes: &AttentionSizes,
        [q, k, v]: [&[f32]; 3],
        prefix: [&CpuTensor; 2],
    ) -> Buffer {
        let [_, prefix_keys, ..]: [usize; 4] = dims(prefix[0]);
        let shared = AttentionSizes { batch: 1, queries: 0, keys: prefix_keys, ..*sizes };
        let mut out = Buffer::new(q.len());
        let tasks: Vec<_> = sizes.tasks().zip(sizes.query_heads(&mut out)).collect();
        tasks.into_par_iter().for_each(|(task, out)| {
            let own = [k, v].map(|x| sizes.kv_head(x, task).at(self.precision));
            let prefix = prefix.map(|x| shared.kv_head(values(x), task % sizes.kv_heads).at(self.precision));
            for (head, out) in out.into_iter().enumerate() {
                let q = sizes.query_head(q, task, head).at(self.precision);
                self.forward_head_with_prefix(sizes, task, q, prefix, own, out);
            }
        });
        out
    }

    /// Writes the output of one query head over the keys and values of the prefix and of its own row.
    fn forward_head_with_prefix(
        &self,
        sizes: &AttentionSizes,
        task: usize,
        q: Matrix<'_>,
        [k_prefix, v_prefix]: [Matrix<'_>; 2],
        [k, v]: [Matrix<'_>; 2],
        mut out: MatrixMut<'_>,
    ) {
        let prefix_keys = k_prefix.row_count();
        let mut scratch = [Buffer::new(sizes.queries.min(TILE) * prefix_keys), Buffer::new(sizes.scores())];
        for tile in sizes.tiles() {
            let keys = sizes.keys_until(tile.end);
            let [prefix, own] = scratch.each_mut();
            let (prefix, own) = (&mut prefix[..tile.len() * prefix_keys], &mut own[..tile.len() * keys]);
            let q = q.rows(tile.clone()).scaled(sizes.score_scale());
            matmul(
                MatrixMut::new(prefix, prefix_keys),
                q,
                k_prefix.t(),
                Accumulate::Overwrite,
                MatmulThreads::One,
            );
            matmul(
                MatrixMut::new(own, keys),
                q,
                k.first_rows(keys).t(),
                Accumulate::Overwrite,
                MatmulThreads::One,
            );
            let rows = prefix.chunks_exact_mut(prefix_keys).zip(own.chunks_exact_mut(keys));
            for (query, (prefix, own)) in tile.clone().zip(rows) {
                softmax_with_prefix(prefix, own, self.visible_keys(sizes, task, query));
            }
            let prefix = Matrix::new(prefix, prefix_keys).at(self.precision);
            let own = Matrix::new(own, keys).at(self.precision);
            matmul(out.rows(tile.clone()), prefix, v_prefix, Accumulate::Overwrite, MatmulThreads::One);
            matmul(out.rows(tile), own, v.first_rows(keys), Accumulate::Add, MatmulThreads::One);
        }
    }

    /// Writes the gradient of one query head, and writes or adds its share of the gradients of keys and
    /// values.
    ///
    /// Tiles are processed from the last to the first. The last one attends to all keys, so it can overwrite
    /// `dk` and `dv`, and the others add to them.
    fn backward_head(
        &self,
        sizes: &AttentionSizes,
        task: usize,
        inputs: &HeadBackwardInputs<'_>,
        mut dq: MatrixMut<'_>,
        [dk, dv]: [&mut MatrixMut<'_>; 2],
        mut accumulate: Accumulate,
    ) {
        let HeadBackwardInputs { q, k, v, out, dout, logsumexps } = inputs;
        let mut scratch = [Buffer::new(sizes.scores()), Buffer::new(sizes.scores())];
        for tile in sizes.tiles().rev() {
            let keys = sizes.keys_until(tile.end);
            let (k, v) = (k.first_rows(keys), v.first_rows(keys));
            let q_tile = q.rows(tile.clone()).scaled(sizes.score_scale());
            let dout_tile = dout.rows(tile.clone());
            let [weights, dscores] = scratch.each_mut().map(|scratch| &mut scratch[..tile.len() * keys]);
            matmul(MatrixMut::new(weights, keys), q_tile, k.t(), Accumulate::Overwrite, MatmulThreads::One);
            matmul(
                MatrixMut::new(dscores, keys),
                dout_tile,
                v.t(),
                Accumulate::Overwrite,
                MatmulThreads::One,
            );
            let rows = weights.chunks_exact_mut(keys).zip(dscores.chunks_exact_mut(keys));
            for (query, (weights, dscores)) in tile.clone().zip(rows) {
                let delta = vector::dot(out.row(query), dout.row(query));
                score_gradients(
                    weights,
                    dscores,
                    self.visible_keys(sizes, task, query),
                    logsumexps[query],
                    delta,
                );
            }
            let [weights, dscores] = [weights, dscores].map(|x| Matrix::new(x, keys).at(self.precision));
            matmul(dv.rows(0..keys), weights.t(), dout_tile, accumulate, MatmulThreads::One);
            matmul(dk.rows(0..keys), dscores.t(), q_tile, accumulate, MatmulThreads::One);
            matmul(
                dq.rows(tile),
                dscores.scaled(sizes.score_scale()),
                k,
                Accumulate::Overwrite,
                MatmulThreads::One,
            );
            accumulate = Accumulate::Add;
        }
    }

    /// Returns the keys that a query attends to, as two ascending ranges, of which the first may be empty.
    fn visible_keys(&self, sizes: &AttentionSizes, task: usize, query: usize) -> [Range<usize>; 2] {
        let at = sizes.keys - sizes.queries + query;
        match &self.mask {
            AttentionMask::Causal => [0..0, 0..at + 1],
            AttentionMask::Spans(spans) => {
                let KeySpan { prefix, own_start } = &spans[task / sizes.kv_heads * sizes.queries + query];
                let own_start = (*own_start as usize).min(at);
                let end = (prefix.end as usize).min(own_start);
                [(prefix.start as usize).min(end)..end, own_start..at + 1]
            }
        }
    }
}

/// Replaces the scores of one query by softmax weights, zero for masked keys, and returns the logsumexp.
fn softmax(scores: &mut [f32], visible: [Range<usize>; 2]) -> f32 {
    softmax_with_prefix(&mut [], scores, visible)
}

/// [`softmax`] of a query that also attends to all of `prefix`.
fn softmax_with_prefix(prefix: &mut [f32], scores: &mut [f32], visible: [Range<usize>; 2]) -> f32 {
    zero_outside(scores, &visible);
    let [shared, own] = visible;
    let (head, tail) = scores.split_at_mut(own.start);
    let mut parts = [prefix, &mut head[shared], &mut tail[..own.end - own.start]];
    let max = parts.iter().map(|part| vector::max(part)).fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = parts.each_mut().map(|part| vector::exp_and_sum(part, max)).iter().sum();
    for part in parts {
        vector::scale(part, 1.0 / sum);
    }
    max + sum.ln()
}

/// Replaces scores by weights, and gradients of weights by gradients of scores.
///
/// With `P = exp(S - logsumexp)`, `dS = P (dP - delta)`, where `delta = dot(out, dout)` of the query, as in
/// `FlashAttention`.
fn score_gradients(
    scores: &mut [f32],
    dweights: &mut [f32],
    visible: [Range<usize>; 2],
    logsumexp: f32,
    delta: f32,
) {
    zero_outside(scores, &visible);
    zero_outside(dweights, &visible);
    for range in visible {
        visible_gradients(&mut scores[range.clone()], &mut dweights[range], logsumexp, delta);
    }
}

#[with_simd]
fn visible_gradients<S: Simd>(scores: &mut [f32], dweights: &mut [f32], logsumexp: f32, delta: f32) {
    for (score, dweight) in scores.iter_mut().zip(dweights) {
        *score = exp(*score - logsumexp);
        *dweight = *score * (*dweight - delta);
    }
}

/// Zeroes the values outside both ranges.
fn zero_outside(row: &mut [f32], [prefix, own]: &[Range<usize>; 2]) {
    row[..prefix.start].fill(0.0);
    row[prefix.end..own.start].fill(0.0);
    row[own.end..].fill(0.0);
}

/// Sizes of one call, which also locate heads in `[batch, tokens, heads, head_dim]`.
pub(super) struct AttentionSizes {
    pub(super) batch: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) kv_heads: usize,
    /// Query heads per key-value head.
    pub(super) group: usize,
    pub(super) dim: usize,
    /// Number of values from the keys of one row to those of the next, and likewise for values. Larger than a
    /// row if the cache has spare capacity.
    pub(super) key_stride: usize,
}

impl AttentionSizes {
    fn of([q, k, _]: &[CpuTensor; 3]) -> Self {
        let ([batch, queries, heads, dim], [_, keys, kv_heads, _]) = (dims(q), dims(k));
        let key_stride = keys * kv_heads * dim;
        Self { batch, queries, keys, kv_heads, group: heads / kv_heads, dim, key_stride }
    }

    pub(super) fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    fn score_scale(&self) -> f32 {
        (self.dim as f64).powf(-0.5) as f32
    }

    /// One task per row and key-value head.
    fn tasks(&self) -> Range<usize> {
        0..self.batch * self.kv_heads
    }

    fn tiles(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + use<> {
        let queries = self.queries;
        (0..queries).step_by(TILE).map(move |start| start..queries.min(start + TILE))
    }

    /// Number of scores in the largest tile.
    fn scores(&self) -> usize {
        self.queries.min(TILE) * self.keys
    }

    /// Number of keys that the queries before `end` may attend to.
    fn keys_until(&self, end: usize) -> usize {
        self.keys - self.queries + end
    }

    /// One key-value head, `[s, e]`.
    fn kv_head<'a>(&self, x: &'a [f32], task: usize) -> Matrix<'a> {
        let (row, head) = (task / self.kv_heads, task % self.kv_heads);
        head_of(&x[row * self.key_stride..], head, self.kv_heads, self.keys, self.dim)
    }

    /// One query head of a task, `[t, e]`.
    fn query_head<'a>(&self, x: &'a [f32], task: usize, head: usize) -> Matrix<'a> {
        let row = task / self.kv_heads;
        let head = task % self.kv_heads * self.group + head;
        let x = &x[row * self.queries * self.heads() * self.dim..];
        head_of(x, head, self.heads(), self.queries, self.dim)
    }

    /// The key-value head of each task, to write to.
    fn kv_heads<'a>(&self, x: &'a mut [f32]) -> impl Iterator<Item = MatrixMut<'a>> + use<'a> {
        let (keys, dim) = (self.keys, self.dim);
        let rows = MatrixMut::new(x, self.kv_heads * dim).split_rows(keys);
        rows.flat_map(move |row| row.split_columns(dim))
    }

    /// The query heads of each task, to write to.
    fn query_heads<'a>(&self, x: &'a mut [f32]) -> impl Iterator<Item = Vec<MatrixMut<'a>>> + use<'a> {
        let (queries, dim, group) = (self.queries, self.dim, self.group);
        let rows = MatrixMut::new(x, self.heads() * dim).split_rows(queries);
        let groups = rows.flat_map(move |row| row.split_columns(group * dim));
        groups.map(move |group| group.split_columns(dim).collect())
    }
}

fn head_of(x: &[f32], head: usize, heads: usize, time: usize, dim: usize) -> Matrix<'_> {
    Matrix::strided(&x[head * dim..], time, dim, heads * dim)
}
