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
    let received =
        if ranks.size() == 1 { vectors.concat() } else { exchange(&vectors, bucket, division, ranks) };
    let len = bucket.pieces[ranks.rank()].len();
    let nodes = (0..ranks.size()).flat_map(|rank| division.nodes_of(rank));
    let mut tree = TreeSum::new(add);
    for (at, node) in nodes.enumerate() {
        let sum = received[at * len..(at + 1) * len].to_vec();
        tree.push(Node { start: node.start, level: node.level, sum });
    }
    tree.finish().unwrap_or_default()
}

/// This rank's piece of every rank's vectors, in the order of ranks.
fn exchange(vectors: &[Vec<f32>], bucket: &Bucket, division: &Division, ranks: &dyn Ranks) -> Vec<f32> {
    let mut sent = Vec::with_capacity(vectors.len() * bucket.len);
    for piece in &bucket.pieces {
        for vector in vectors {
            sent.extend_from_slice(&vector[piece.clone()]);
        }
    }
    let own = bucket.pieces[ranks.rank()].len();
    let sent_lens: Vec<usize> = bucket.pieces.iter().map(|piece| vectors.len() * piece.len()).collect();
    let received_lens: Vec<usize> =
        (0..ranks.size()).map(|rank| division.nodes_of(rank).len() * own).collect();
    let mut received = vec![0.0; received_lens.iter().sum()];
    ranks.exchange(&sent, &sent_lens, &mut received, &received_lens);
    received
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

/// The norm of all gradients. Squares are added up within blocks, which lie the same on any number of ranks, then over blocks, in their order.
fn norm(pieces: &[Vec<f32>], division: &Division, ranks: &dyn Ranks) -> f64 {
    let square_sum = |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
    let mut total = 0.0;
    for (piece, bucket) in pieces.iter().zip(division.buckets()) {
        let own: Vec<f32> = piece.par_chunks(BLOCK).map(square_sum).collect();
        let lens: Vec<usize> = bucket.lens().into_iter().map(|len| len.div_ceil(BLOCK)).collect();
        let mut squares = vec![0.0; lens.iter().sum()];
        ranks.gather(&own, &mut squares, &lens);
        total += squares.into_iter().map(f64::from).sum::<f64>();
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
