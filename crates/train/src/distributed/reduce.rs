//! Gradients of all ranks' micro-batches, added up where they are owned.

use burn::tensor::{Device, Tensor, TensorData};
use fineline_ranks::Ranks;
use rayon::prelude::*;

use crate::distributed::division::BLOCK;
use crate::distributed::{Bucket, Division, Node, TreeSum};
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// The gradient of the whole batch, as far as this rank owns it.
pub(crate) struct Reduced {
    /// One per bucket: this rank's piece of it.
    pub(crate) pieces: Vec<Vec<f32>>,
    /// The norm of all gradients as one vector, the same on every rank.
    pub(crate) norm: f64,
}

/// Targets of the whole batch, from those of each rank's rows.
pub(crate) fn count_targets(own: usize, ranks: &dyn Ranks) -> usize {
    let counts = ranks.collect(&(own as u64).to_le_bytes());
    counts
        .iter()
        .filter_map(|count| Some(u64::from_le_bytes(count.as_slice().try_into().ok()?) as usize))
        .sum()
}

/// The loss of the whole batch, from those of each rank's micro-batches. They are added in the order of micro-batches, in double
/// precision.
pub(crate) fn sum_losses(own: &[f32], division: &Division, ranks: &dyn Ranks) -> f32 {
    let lens: Vec<usize> = (0..division.size()).map(|rank| division.micro_batches_of(rank).len()).collect();
    let mut losses = vec![0.0; lens.iter().sum()];
    ranks.gather(own, &mut losses, &lens);
    losses.into_iter().map(f64::from).sum::<f64>() as f32
}

/// Adds up the gradients of all ranks. `own` are this rank's [nodes](Division::nodes_of).
pub(crate) fn reduce(own: &[Node<GradientSum>], division: &Division, ranks: &dyn Ranks) -> Reduced {
    let pieces: Vec<Vec<f32>> =
        division.buckets().iter().map(|bucket| reduce_bucket(own, bucket, division, ranks)).collect();
    let norm = norm(&pieces, division, ranks);
    Reduced { pieces, norm }
}

fn reduce_bucket(
    own: &[Node<GradientSum>],
    bucket: &Bucket,
    division: &Division,
    ranks: &dyn Ranks,
) -> Vec<f32> {
    let vectors: Vec<Vec<f32>> = own.iter().map(|node| flatten(&node.sum, bucket, division)).collect();
    let parts = if ranks.size() == 1 { vectors } else { exchange(vectors, bucket, division, ranks) };
    let nodes = (0..ranks.size()).flat_map(|rank| division.nodes_of(rank));
    let mut tree = TreeSum::new(add);
    for (node, sum) in nodes.zip(parts) {
        tree.push(Node { start: node.start, level: node.level, sum });
    }
    tree.finish().unwrap_or_default()
}

/// This rank's piece of every rank's vectors, in the order of ranks.
fn exchange(
    vectors: Vec<Vec<f32>>,
    bucket: &Bucket,
    division: &Division,
    ranks: &dyn Ranks,
) -> Vec<Vec<f32>> {
    let own = bucket.pieces[ranks.rank()].len();
    let sent_lens: Vec<usize> = bucket.pieces.iter().map(|piece| vectors.len() * piece.len()).collect();
    let received_lens: Vec<usize> =
        (0..ranks.size()).map(|rank| division.nodes_of(rank).len() * own).collect();
    let sent = by_piece(vectors, bucket);
    let mut received = vec![0.0; received_lens.iter().sum()];
    ranks.exchange(&sent, &sent_lens, &mut received, &received_lens);
    drop(sent);
    (0..received.len().checked_div(own).unwrap_or_default())
        .map(|part| received[part * own..(part + 1) * own].to_vec())
        .collect()
}

/// All vectors' parts of the first piece, then of the second, and so on. One vector is that already.
fn by_piece(mut vectors: Vec<Vec<f32>>, bucket: &Bucket) -> Vec<f32> {
    if vectors.len() == 1 {
        return vectors.swap_remove(0);
    }
    let pieces = bucket.pieces.iter();
    pieces.flat_map(|piece| vectors.iter().flat_map(|vector| &vector[piece.clone()])).copied().collect()
}

fn add(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    left.par_iter_mut().with_min_len(BLOCK).zip(right).for_each(|(left, right)| *left += right);
    left
}

/// The gradients of a bucket's parameters as one vector. A parameter without a gradient has zeros.
fn flatten(sum: &GradientSum, bucket: &Bucket, division: &Division) -> Vec<f32> {
    let mut vector = Vec::with_capacity(bucket.len);
    for spec in &division.parameters()[bucket.parameters.clone()] {
        match sum.get(&spec.name) {
            Some(gradient) => vector.extend(gradient.to_data().iter::<f32>()),
            None => vector.resize(vector.len() + spec.len(), 0.0),
        }
    }
    vector
}

/// The norm of all gradients. Squares are added up within blocks, which lie the same on any number of ranks, then over blocks, in their
/// order. The sums of all buckets travel at once.
fn norm(pieces: &[Vec<f32>], division: &Division, ranks: &dyn Ranks) -> f64 {
    let square_sum = |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
    let own: Vec<f32> =
        pieces.iter().flat_map(|piece| piece.par_chunks(BLOCK).map(square_sum).collect::<Vec<_>>()).collect();
    let blocks = |bucket: &Bucket, rank: usize| bucket.pieces[rank].len().div_ceil(BLOCK);
    let lens: Vec<usize> = (0..ranks.size())
        .map(|rank| division.buckets().iter().map(|bucket| blocks(bucket, rank)).sum())
        .collect();
    let mut squares = vec![0.0; lens.iter().sum()];
    ranks.gather(&own, &mut squares, &lens);

    // They come rank by rank; the order of blocks goes through all ranks' pieces of a bucket before the next.
    let mut next: Vec<usize> =
        lens.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len))).collect();
    let mut total = 0.0;
    for bucket in division.buckets() {
        for (rank, start) in next.iter_mut().enumerate() {
            let end = *start + blocks(bucket, rank);
            total = squares[*start..end].iter().fold(total, |total, &square| total + f64::from(square));
            *start = end;
        }
    }
    total.sqrt()
}

/// The whole of every rank's pieces: a vector per parameter.
pub(crate) fn put_together(
    pieces: Vec<Vec<f32>>,
    division: &Division,
    ranks: &dyn Ranks,
    device: &Device,
) -> ByName<Tensor<1>> {
    let mut vectors = ByName::new();
    for (piece, bucket) in pieces.into_iter().zip(division.buckets()) {
        let whole = gather(piece, bucket, ranks);
        let mut rest = &whole[..];
        for spec in &division.parameters()[bucket.parameters.clone()] {
            let (values, behind) = rest.split_at(spec.len());
            rest = behind;
            let data = TensorData::new(values.to_vec(), [spec.len()]);
            vectors.insert(spec.name.clone(), Tensor::from_data(data, device));
        }
    }
    vectors
}

/// A bucket from the pieces of all ranks.
fn gather(piece: Vec<f32>, bucket: &Bucket, ranks: &dyn Ranks) -> Vec<f32> {
    if ranks.size() == 1 {
        return piece;
    }
    let mut whole = vec![0.0; bucket.len];
    ranks.gather(&piece, &mut whole, &bucket.lens());
    whole
}
