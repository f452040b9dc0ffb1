//! Reduction of the gradients of all ranks.

use burn::tensor::{Device, Tensor, TensorData};
use fineline_kernels::is_in_host_memory;
use fineline_model::ParameterSpec;
use fineline_ranks::Ranks;
use rayon::prelude::*;

use crate::distributed::division::{BLOCK, Division, GradientBucket};
use crate::distributed::tree::{TreeNode, TreeSum};
use crate::optim::GradientSum;
use crate::parameters::ByName;

/// Returns the number of targets of the whole batch, given that of this rank's rows. Collective.
pub(crate) fn count_targets(own: usize, ranks: &dyn Ranks) -> usize {
    ranks.all_gather(&own).into_iter().sum()
}

/// Returns the loss of the whole batch, given those of this rank's micro-batches. Losses are added in the
/// order of micro-batches, in float64. Collective.
pub(crate) fn sum_losses(own: &[f32], division: &Division, ranks: &dyn Ranks) -> f32 {
    let lens: Vec<usize> = (0..division.size()).map(|rank| division.micro_batches_of(rank).len()).collect();
    let mut losses = vec![0.0; lens.iter().sum()];
    ranks.all_gather_f32(own, &mut losses, &lens);
    losses.into_iter().map(f64::from).sum::<f64>() as f32
}

/// Returns the gradients of the whole batch on every rank, and their norm. `own` are this rank's
/// [nodes](Division::nodes_of). Collective.
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
        exchange.all_gather_parameters(&piece, bucket, used, device, &mut gradients);
    }
    (GradientSum(gradients), exchange.norm())
}

/// Returns the pieces of the whole batch's gradients that this rank owns, one per bucket, and the norm of all
/// gradients, which is the same on every rank. Collective.
pub(crate) fn reduce_scatter(
    own: Vec<TreeNode<GradientSum>>,
    division: &Division,
    ranks: &dyn Ranks,
) -> (Vec<Vec<f32>>, f64) {
    let mut exchange = BucketExchange::new(own, division, ranks);
    let pieces = division.buckets().iter().map(|bucket| exchange.reduce(bucket).0).collect();
    (pieces, exchange.norm())
}

/// Gathers the updated parameters of all ranks, bucket by bucket.
///
/// All ranks must request the same parameters in the same order. In the order of the buckets, each bucket is
/// sent once.
pub(crate) struct ParameterGather<'a> {
    exchange: BucketExchange<'a>,
    pieces: Vec<Vec<f32>>,
    /// Index of the bucket that has been gathered.
    gathered_bucket: Option<usize>,
}

impl<'a> ParameterGather<'a> {
    pub(crate) fn new(pieces: Vec<Vec<f32>>, division: &'a Division, ranks: &'a dyn Ranks) -> Self {
        Self { exchange: BucketExchange::new(Vec::new(), division, ranks), pieces, gathered_bucket: None }
    }

    /// Returns the updated values of a parameter, in the memory of `before` if possible. A parameter that
    /// isn't in any bucket is returned unchanged. Collective.
    pub(crate) fn parameter(&mut self, name: &str, before: Tensor<1>) -> Tensor<1> {
        let parameters = self.exchange.division.parameters();
        let Some(parameter) = parameters.iter().position(|spec| spec.name == name) else { return before };
        let mut buckets = self.exchange.division.buckets().iter().enumerate();
        let Some((index, bucket)) = buckets.find(|(_, bucket)| bucket.parameters.contains(&parameter)) else {
            return before;
        };
        if self.gathered_bucket != Some(index) {
            self.exchange.all_gather(&self.pieces[index], bucket);
            self.gathered_bucket = Some(index);
        }
        let start: usize =
            parameters[bucket.parameters.start..parameter].iter().map(ParameterSpec::len).sum();
        let values = &self.exchange.received[start..start + parameters[parameter].len()];
        let device = before.device();
        // Memory of another device can't be reused here.
        let memory = is_in_host_memory(&device).then(|| before.into_data());
        Tensor::from_data(fill_or_allocate(memory, values), &device)
    }
}

/// The exchange of one bucket after another between ranks.
struct BucketExchange<'a> {
    /// This rank's nodes. Gradients are removed once they have been sent.
    own: Vec<TreeNode<GradientSum>>,
    division: &'a Division,
    ranks: &'a dyn Ranks,
    /// The sum of squares of each block that this rank owns.
    squares: Vec<f32>,
    /// Receive buffer, reused for all buckets because allocating it costs more than the exchange.
    received: Vec<f32>,
}

impl<'a> BucketExchange<'a> {
    fn new(own: Vec<TreeNode<GradientSum>>, division: &'a Division, ranks: &'a dyn Ranks) -> Self {
        Self { own, division, ranks, squares: Vec::new(), received: Vec::new() }
    }

    /// Returns this rank's piece of the sum of all ranks' nodes, and the memory that held the gradients of
    /// the bucket's parameters.
    fn reduce(&mut self, bucket: &GradientBucket) -> (Vec<f32>, Vec<TensorData>) {
        let mut used = Vec::new();
        let mut own = Vec::new();
        for node in &mut self.own {
            own.push(flatten_bucket(&mut node.sum, bucket, self.division, &mut used));
        }
        let parts = if self.ranks.size() == 1 { own } else { self.all_to_all(own, bucket) };
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

    /// Sends each rank its piece of this rank's vectors. Returns this rank's piece of all ranks' vectors, in
    /// the order of ranks.
    fn all_to_all(&mut self, mut own: Vec<Vec<f32>>, bucket: &GradientBucket) -> Vec<Vec<f32>> {
        let len = bucket.pieces[self.ranks.rank()].len();
        let sent_lens: Vec<usize> = bucket.pieces.iter().map(|piece| own.len() * piece.len()).collect();
        let received_lens: Vec<usize> =
            (0..self.ranks.size()).map(|rank| self.division.nodes_of(rank).len() * len).collect();
        let sent =
            if let [vector] = &mut own[..] { std::mem::take(vector) } else { order_by_piece(&own, bucket) };
        drop(own);
        self.received.resize(received_lens.iter().sum(), 0.0);
        self.ranks.all_to_all_f32(&sent, &sent_lens, &mut self.received, &received_lens);
        drop(sent);
        let parts = self.received.len().checked_div(len).unwrap_or_default();
        (0..parts).map(|part| self.received[part * len..(part + 1) * len].to_vec()).collect()
    }

    /// Gathers a bucket from the pieces of all ranks, and splits it into a vector per parameter, in `used`
    /// memory if there is any.
    fn all_gather_parameters(
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
            self.all_gather(piece, bucket);
            &self.received[..]
        };
        let mut used = used.into_iter();
        for spec in &self.division.parameters()[bucket.parameters.clone()] {
            let (values, tail) = rest.split_at(spec.len());
            rest = tail;
            let data = fill_or_allocate(used.next(), values);
            vectors.insert(spec.name.clone(), Tensor::from_data(data, device));
        }
    }

    /// Gathers the pieces of all ranks into the receive buffer.
    fn all_gather(&mut self, piece: &[f32], bucket: &GradientBucket) {
        self.received.resize(bucket.len, 0.0);
        self.ranks.all_gather_f32(piece, &mut self.received, &bucket.piece_lens());
    }

    /// Returns the norm of all gradients. Squares are summed within blocks, which are the same on any number
    /// of ranks, then over blocks in their order. The sums of all buckets are sent in one collective.
    fn norm(&self) -> f64 {
        let (division, ranks) = (self.division, self.ranks);
        let block_count = |bucket: &GradientBucket, rank: usize| bucket.pieces[rank].len().div_ceil(BLOCK);
        let lens: Vec<usize> = (0..ranks.size())
            .map(|rank| division.buckets().iter().map(|bucket| block_count(bucket, rank)).sum())
            .collect();
        let mut squares = vec![0.0; lens.iter().sum()];
        ranks.all_gather_f32(&self.squares, &mut squares, &lens);

        // The sums arrive ordered by rank, but are added by bucket, then by rank.
        let mut next: Vec<usize> =
            lens.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len))).collect();
        let mut total = 0.0;
        for bucket in division.buckets() {
            for (rank, start) in next.iter_mut().enumerate() {
                let end = *start + block_count(bucket, rank);
                total = squares[*start..end].iter().fold(total, |total, &square| total + f64::from(square));
                *start = end;
            }
        }
        total.sqrt()
    }
}

/// Adds two vectors of equal length.
fn add(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    left.par_iter_mut().with_min_len(BLOCK).zip(right).for_each(|(left, right)| *left += right);
    left
}

/// Orders the values of vectors by piece: the first piece of all vectors, then the second, and so on.
fn order_by_piece(vectors: &[Vec<f32>], bucket: &GradientBucket) -> Vec<f32> {
    let pieces = bucket.pieces.iter();
    pieces
        .flat_map(|piece| vectors.iter().map(move |vector| &vector[piece.clone()]))
        .collect::<Vec<_>>()
        .concat()
}

/// Removes the gradients of a bucket's parameters from `sum` and concatenates them. Missing gradients are
/// zeros. The memory of the last node's gradients is stored in `used`.
fn flatten_bucket(
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
        vector.extend_from_slice(data.as_slice().expect("they were just converted to float32"));
        taken.push(data);
    }
    *used = taken;
    vector
}

/// Returns tensor data with these values, in the memory of `used` if it has the same length.
fn fill_or_allocate(used: Option<TensorData>, values: &[f32]) -> TensorData {
    if let Some(mut data) = used
        && let Ok(old) = data.as_mut_slice::<f32>()
        && old.len() == values.len()
    {
        old.copy_from_slice(values);
        return data;
    }
    TensorData::new(values.to_vec(), [values.len()])
}
