//! Gradients of all ranks' micro-batches, added up where they are owned.

use burn::tensor::{Device, Tensor, TensorData};
use fineline_kernels::is_in_host_memory;
use fineline_model::ParameterSpec;
use fineline_ranks::Ranks;
use rayon::prelude::*;

use crate::distributed::division::{BLOCK, Division, GradientBucket};
use crate::distributed::tree::{TreeNode, TreeSum};
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// Targets of the whole batch, from those of each rank's rows.
pub(crate) fn count_targets(own: usize, ranks: &dyn Ranks) -> usize {
    ranks.all_gather(&own).into_iter().sum()
}

/// The loss of the whole batch, from those of each rank's micro-batches. They are added in the order of micro-batches, in double
/// precision.
pub(crate) fn sum_losses(own: &[f32], division: &Division, ranks: &dyn Ranks) -> f32 {
    let lens: Vec<usize> = (0..division.size()).map(|rank| division.micro_batches_of(rank).len()).collect();
    let mut losses = vec![0.0; lens.iter().sum()];
    ranks.all_gather_f32(own, &mut losses, &lens);
    losses.into_iter().map(f64::from).sum::<f64>() as f32
}

/// The gradient of the whole batch on every rank, and its norm. `own` are this rank's [nodes](Division::nodes_of).
pub(crate) fn reduce(
    own: Vec<TreeNode<GradientSum>>,
    division: &Division,
    ranks: &dyn Ranks,
    device: &Device,
) -> (GradientSum, f64) {
    let mut exchange = BucketExchange::new(own, division, ranks);
    let mut gradients = ByName::new();
    for bucket in division.buckets() {
        let (piece, used) = exchange.reduce(bucket);
        exchange.put_together(&piece, bucket, used, device, &mut gradients);
    }
    (GradientSum(gradients), exchange.norm())
}

/// What this rank owns of the gradient of the whole batch, a piece per bucket, and the norm of all of it, the same on every rank.
pub(crate) fn reduce_scatter(
    own: Vec<TreeNode<GradientSum>>,
    division: &Division,
    ranks: &dyn Ranks,
) -> (Vec<Vec<f32>>, f64) {
    let mut exchange = BucketExchange::new(own, division, ranks);
    let pieces = division.buckets().iter().map(|bucket| exchange.reduce(bucket).0).collect();
    (pieces, exchange.norm())
}

/// The whole of every rank's pieces, given out a parameter at a time. All ranks ask for the same parameters in the same order; where it is
/// that of the buckets, each travels once.
pub(crate) struct ParameterGather<'a> {
    exchange: BucketExchange<'a>,
    pieces: Vec<Vec<f32>>,
    /// Which bucket is whole at the moment.
    bucket: Option<usize>,
}

impl<'a> ParameterGather<'a> {
    pub(crate) fn new(pieces: Vec<Vec<f32>>, division: &'a Division, ranks: &'a dyn Ranks) -> Self {
        Self { exchange: BucketExchange::new(Vec::new(), division, ranks), pieces, bucket: None }
    }

    /// The values of a parameter, in the memory of those `before`. One that isn't exchanged stays as it is.
    pub(crate) fn parameter(&mut self, name: &str, before: Tensor<1>) -> Tensor<1> {
        let parameters = self.exchange.division.parameters();
        let Some(parameter) = parameters.iter().position(|spec| spec.name == name) else { return before };
        let mut buckets = self.exchange.division.buckets().iter().enumerate();
        let Some((at, bucket)) = buckets.find(|(_, bucket)| bucket.parameters.contains(&parameter)) else {
            return before;
        };
        if self.bucket != Some(at) {
            self.exchange.gather(&self.pieces[at], bucket);
            self.bucket = Some(at);
        }
        let start: usize =
            parameters[bucket.parameters.start..parameter].iter().map(ParameterSpec::len).sum();
        let values = &self.exchange.received[start..start + parameters[parameter].len()];
        let device = before.device();
        // On another device, its memory is of no use here.
        let memory = is_in_host_memory(&device).then(|| before.into_data());
        Tensor::from_data(filled(memory, values), &device)
    }
}

/// One bucket after another on its way between ranks.
struct BucketExchange<'a> {
    /// This rank's nodes. What has been sent is taken out of them.
    own: Vec<TreeNode<GradientSum>>,
    division: &'a Division,
    ranks: &'a dyn Ranks,
    /// Of each block that this rank owns, the sum of squares.
    squares: Vec<f32>,
    /// Kept from bucket to bucket: fresh memory costs more than what is done with it.
    received: Vec<f32>,
}

impl<'a> BucketExchange<'a> {
    fn new(own: Vec<TreeNode<GradientSum>>, division: &'a Division, ranks: &'a dyn Ranks) -> Self {
        Self { own, division, ranks, squares: Vec::new(), received: Vec::new() }
    }

    /// This rank's piece of the sum of all ranks' nodes, and memory that the bucket's parameters had gradients in.
    fn reduce(&mut self, bucket: &GradientBucket) -> (Vec<f32>, Vec<TensorData>) {
        let mut used = Vec::new();
        let flatten =
            |node: &mut TreeNode<GradientSum>| flatten(&mut node.sum, bucket, self.division, &mut used);
        let own: Vec<Vec<f32>> = self.own.iter_mut().map(flatten).collect();
        let parts = if self.ranks.size() == 1 { own } else { self.exchange(own, bucket) };
        let nodes = (0..self.ranks.size()).flat_map(|rank| self.division.nodes_of(rank));
        let mut tree = TreeSum::new(add);
        for (node, sum) in nodes.zip(parts) {
            tree.push(TreeNode { start: node.start, level: node.level, sum });
        }
        let piece = tree.finish().unwrap_or_default();
        let sum_squares =
            |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
        self.squares.extend(piece.par_chunks(BLOCK).map(sum_squares).collect::<Vec<_>>());
        (piece, used)
    }

    /// This rank's piece of every rank's vectors, in the order of ranks.
    fn exchange(&mut self, mut own: Vec<Vec<f32>>, bucket: &GradientBucket) -> Vec<Vec<f32>> {
        let len = bucket.pieces[self.ranks.rank()].len();
        let sent_lens: Vec<usize> = bucket.pieces.iter().map(|piece| own.len() * piece.len()).collect();
        let received_lens: Vec<usize> =
            (0..self.ranks.size()).map(|rank| self.division.nodes_of(rank).len() * len).collect();
        let sent = if let [vector] = &mut own[..] { std::mem::take(vector) } else { by_piece(&own, bucket) };
        drop(own);
        self.received.resize(received_lens.iter().sum(), 0.0);
        self.ranks.all_to_all_f32(&sent, &sent_lens, &mut self.received, &received_lens);
        drop(sent);
        let parts = self.received.len().checked_div(len).unwrap_or_default();
        (0..parts).map(|part| self.received[part * len..(part + 1) * len].to_vec()).collect()
    }

    /// A bucket from the pieces of all ranks, as a vector per parameter, in `used` memory where there is any.
    fn put_together(
        &mut self,
        piece: &[f32],
        bucket: &GradientBucket,
        used: Vec<TensorData>,
        device: &Device,
        vectors: &mut ByName<Tensor<1>>,
    ) {
        let mut rest = if self.ranks.size() == 1 {
            piece
        } else {
            self.gather(piece, bucket);
            &self.received[..]
        };
        let mut used = used.into_iter();
        for spec in &self.division.parameters()[bucket.parameters.clone()] {
            let (values, behind) = rest.split_at(spec.len());
            rest = behind;
            let data = filled(used.next(), values);
            vectors.insert(spec.name.clone(), Tensor::from_data(data, device));
        }
    }

    /// Has the pieces of all ranks received, one after another.
    fn gather(&mut self, piece: &[f32], bucket: &GradientBucket) {
        self.received.resize(bucket.len, 0.0);
        self.ranks.all_gather_f32(piece, &mut self.received, &bucket.lens());
    }

    /// The norm of all gradients. Squares are added up within blocks, which lie the same on any number of ranks, then over blocks, in
    /// their order. The sums of all buckets travel at once.
    fn norm(&self) -> f64 {
        let (division, ranks) = (self.division, self.ranks);
        let blocks = |bucket: &GradientBucket, rank: usize| bucket.pieces[rank].len().div_ceil(BLOCK);
        let lens: Vec<usize> = (0..ranks.size())
            .map(|rank| division.buckets().iter().map(|bucket| blocks(bucket, rank)).sum())
            .collect();
        let mut squares = vec![0.0; lens.iter().sum()];
        ranks.all_gather_f32(&self.squares, &mut squares, &lens);

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
}

fn add(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    left.par_iter_mut().with_min_len(BLOCK).zip(right).for_each(|(left, right)| *left += right);
    left
}

/// All vectors' parts of the first piece, then of the second, and so on.
fn by_piece(vectors: &[Vec<f32>], bucket: &GradientBucket) -> Vec<f32> {
    let pieces = bucket.pieces.iter();
    pieces
        .flat_map(|piece| vectors.iter().map(move |vector| &vector[piece.clone()]))
        .collect::<Vec<_>>()
        .concat()
}

/// The gradients of a bucket's parameters as one vector, taken out of `sum`. A parameter without a gradient has zeros. What they were in, of
/// one node, is left in `used`.
fn flatten(
    sum: &mut GradientSum,
    bucket: &GradientBucket,
    division: &Division,
    used: &mut Vec<TensorData>,
) -> Vec<f32> {
    let mut vector = Vec::with_capacity(bucket.len);
    let mut taken = Vec::new();
    for spec in &division.parameters()[bucket.parameters.clone()] {
        let data = match sum.take(&spec.name) {
            Some(gradient) => gradient.into_data().convert::<f32>(),
            None => TensorData::zeros::<f32, _>([spec.len()]),
        };
        vector.extend_from_slice(data.as_slice().expect("they have just been made float32"));
        taken.push(data);
    }
    *used = taken;
    vector
}

/// A vector of these values, in memory that one of its length was in, if that can be had.
fn filled(used: Option<TensorData>, values: &[f32]) -> TensorData {
    if let Some(mut data) = used
        && let Ok(old) = data.as_mut_slice::<f32>()
        && old.len() == values.len()
    {
        old.copy_from_slice(values);
        return data;
    }
    TensorData::new(values.to_vec(), [values.len()])
}
