//! The division of a step among ranks.

use std::ops::Range;

use fineline_diagnostics::{ConfigSection, Key, Problem};
use fineline_model::{LlamaConfig, ParameterSpec};
use fineline_ranks::{RankThreads, Ranks};

use crate::distributed::config::{DistributedConfig, DistributedMode};
use crate::distributed::tree::{TreeNode, TreeSum};
use crate::error::TrainError;
use crate::train_config::TrainConfig;

/// Number of values per block. Ownership and sums of squares are in units of blocks, which don't depend on
/// the number of ranks.
pub(crate) const BLOCK: usize = 4096;

/// The division of a step among ranks. It is a function of the configuration and the number of ranks, the
/// same on all of them.
///
/// Consecutive parameters form *buckets*. Each rank owns a *piece* of every bucket. The part of a piece that
/// lies in one parameter is a *segment*.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    rank: usize,
    size: usize,
    mode: DistributedMode,
    deterministic: bool,
    ranks_per_process: usize,
    micro_batches: usize,
    parameters: Vec<ParameterSpec>,
    buckets: Vec<GradientBucket>,
}

/// Consecutive parameters whose gradients are exchanged together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GradientBucket {
    /// Indices of the parameters.
    pub(crate) parameters: Range<usize>,
    /// Number of values of all parameters.
    pub(crate) len: usize,
    /// The piece of each rank.
    pub(crate) pieces: Vec<Range<usize>>,
}

impl GradientBucket {
    /// Returns the length of each rank's piece.
    pub(crate) fn piece_lens(&self) -> Vec<usize> {
        self.pieces.iter().map(ExactSizeIterator::len).collect()
    }
}

/// The part of a piece that lies in one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PieceSegment {
    /// Index of the parameter.
    pub(crate) parameter: usize,
    /// Range in the parameter.
    pub(crate) values: Range<usize>,
    /// Range in the piece.
    pub(crate) in_piece: Range<usize>,
}

impl Division {
    /// Divides the steps of a model among `ranks`.
    ///
    /// # Errors
    /// [`TrainError::Config`] if there are fewer micro-batches than ranks, or `ranks_per_process` doesn't
    /// divide the number of ranks.
    ///
    /// # Panics
    /// If `ranks_per_process` of the configuration differs from that of `ranks`.
    pub fn new(
        config: &DistributedConfig,
        train: &TrainConfig,
        model: &LlamaConfig,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        let threads = ranks.threads().map_or(1, RankThreads::count);
        assert!([1, threads].contains(&config.ranks_per_process), "a process has {threads} ranks");
        Self::for_rank(config, train, model, ranks.rank(), ranks.size())
    }

    /// Divides the steps of a model among `size` ranks, of which this is `rank`.
    ///
    /// # Errors
    /// [`TrainError::Config`] if there are fewer micro-batches than ranks, or `ranks_per_process` doesn't
    /// divide the number of ranks.
    pub fn for_rank(
        config: &DistributedConfig,
        train: &TrainConfig,
        model: &LlamaConfig,
        rank: usize,
        size: usize,
    ) -> Result<Self, TrainError> {
        config.validate("distributed")?;
        train.validate("train")?;
        let micro_batches = train.global_batch_size / train.micro_batch_size;
        if micro_batches < size {
            let key = Key::default().field("train").field("micro_batch_size");
            let message = format!(
                "makes {micro_batches} micro-batches of train.global_batch_size = {}, fewer than the {size} \
                 ranks",
                train.global_batch_size
            );
            let problem = Problem::new(key, message)
                .with_value(train.micro_batch_size)
                .with_remedy("reduce it, or use fewer ranks");
            return Err(problem.into());
        }
        if !size.is_multiple_of(config.ranks_per_process) {
            let key = Key::default().field("distributed").field("ranks_per_process");
            let problem = Problem::new(key, format!("must divide the {size} ranks"));
            return Err(problem.with_value(config.ranks_per_process).into());
        }
        let parameters = model.parameters();
        let buckets = split_into_buckets(&parameters, size, (config.bucket_mib << 20) / size_of::<f32>());
        let DistributedConfig { mode, deterministic, ranks_per_process, .. } = *config;
        Ok(Self { rank, size, mode, deterministic, ranks_per_process, micro_batches, parameters, buckets })
    }

    /// Returns whether there is a single rank without a fixed order of additions, which needs no division.
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        self.size == 1 && !self.deterministic && self.mode == DistributedMode::DataParallel
    }

    /// Returns whether each rank has a part of the optimizer state only.
    #[must_use]
    pub fn shards_optimizer_state(&self) -> bool {
        self.size > 1 && self.mode == DistributedMode::Zero1
    }

    /// Returns the index of this rank, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the indices of this rank's micro-batches.
    #[must_use]
    pub fn micro_batches(&self) -> Range<usize> {
        self.micro_batches_of(self.rank)
    }

    pub(crate) fn micro_batches_of(&self, rank: usize) -> Range<usize> {
        even_part(self.micro_batches, rank, self.size)
    }

    /// Returns the number of parameter values whose optimizer state this rank keeps.
    #[must_use]
    pub fn optimizer_values(&self) -> usize {
        if self.shards_optimizer_state() {
            self.buckets.iter().map(|bucket| bucket.pieces[self.rank].len()).sum()
        } else {
            self.parameters.iter().map(ParameterSpec::len).sum()
        }
    }

    pub(crate) fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    pub(crate) fn buckets(&self) -> &[GradientBucket] {
        &self.buckets
    }

    pub(crate) fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// Returns whether the ranks of a process sum their gradients among themselves first.
    pub(crate) fn sums_within_process(&self) -> bool {
        self.ranks_per_process > 1 && !self.deterministic
    }

    /// Returns whether the sum within the process is complete, so that each rank has all gradients and makes
    /// the whole update.
    pub(crate) fn sums_within_process_only(&self) -> bool {
        self.size == self.ranks_per_process && !self.shards_optimizer_state()
    }

    /// Returns the leaf of a rank's own sum if the order of additions isn't fixed: one per process, held by
    /// its first rank.
    pub(crate) fn leaf_of(&self, rank: usize) -> Option<usize> {
        rank.is_multiple_of(self.ranks_per_process).then_some(rank / self.ranks_per_process)
    }

    /// Returns the nodes of the addition tree that a rank contributes to a reduction, without their sums. If
    /// the order of additions isn't fixed, there is one node per process.
    pub(crate) fn nodes_of(&self, rank: usize) -> Vec<TreeNode<()>> {
        if !self.deterministic {
            return self.leaf_of(rank).map(|leaf| TreeNode::leaf(leaf, ())).into_iter().collect();
        }
        let mut tree = TreeSum::new(|(), ()| ());
        self.micro_batches_of(rank).for_each(|leaf| tree.push(TreeNode::leaf(leaf, ())));
        tree.into_nodes()
    }

    /// Returns the segments of this rank's piece of a bucket.
    pub(crate) fn segments(&self, bucket: &GradientBucket) -> Vec<PieceSegment> {
        let piece = &bucket.pieces[self.rank];
        let mut start = 0;
        let mut segments = Vec::new();
        for parameter in bucket.parameters.clone() {
            let end = start + self.parameters[parameter].len();
            let owned = piece.start.max(start)..piece.end.min(end);
            if !owned.is_empty() {
                segments.push(PieceSegment {
                    parameter,
                    values: owned.start - start..owned.end - start,
                    in_piece: owned.start - piece.start..owned.end - piece.start,
                });
            }
            start = end;
        }
        segments
    }

    /// Returns the range of each parameter whose optimizer state this rank keeps, in the order of parameters.
    /// Parameters without such a range are omitted.
    pub(crate) fn owned_ranges(&self) -> Vec<(&ParameterSpec, Range<usize>)> {
        if !self.shards_optimizer_state() {
            return self.parameters.iter().map(|spec| (spec, 0..spec.len())).collect();
        }
        let segments = self.buckets.iter().flat_map(|bucket| self.segments(bucket));
        segments.map(|segment| (&self.parameters[segment.parameter], segment.values)).collect()
    }
}

/// Returns part `index` of `0..total` split into `count` parts as evenly as possible.
fn even_part(total: usize, index: usize, count: usize) -> Range<usize> {
    total * index / count..total * (index + 1) / count
}

/// Splits parameters into buckets of at most `max_len` values, or a single parameter, and the buckets into a
/// piece per rank.
fn split_into_buckets(parameters: &[ParameterSpec], size: usize, max_len: usize) -> Vec<GradientBucket> {
    let mut buckets: Vec<GradientBucket> = Vec::new();
    for (index, spec) in parameters.iter().enumerate() {
        match buckets.last_mut() {
            Some(bucket) if bucket.len + spec.len() <= max_len => {
                bucket.parameters.end = index + 1;
                bucket.len += spec.len();
            }
            _ => buckets.push(GradientBucket {
                parameters: index..index + 1,
                len: spec.len(),
                pieces: Vec::new(),
            }),
        }
    }
    for bucket in &mut buckets {
        let blocks = bucket.len.div_ceil(BLOCK);
        let piece_of = |rank| {
            let blocks = even_part(blocks, rank, size);
            blocks.start * BLOCK..(blocks.end * BLOCK).min(bucket.len)
        };
        bucket.pieces = (0..size).map(piece_of).collect();
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn division(rank: usize, size: usize, config: &DistributedConfig) -> Division {
        let model = LlamaConfig {
            vocab_size: 4001,
            hidden_size: 96,
            intermediate_size: 200,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            ..LlamaConfig::default()
        };
        let train = TrainConfig {
            steps: Some(1),
            global_batch_size: 22,
            micro_batch_size: 2,
            ..TrainConfig::default()
        };
        Division::for_rank(config, &train, &model, rank, size).unwrap()
    }

    #[test]
    fn every_value_has_one_owner_and_every_micro_batch_too() {
        let config =
            DistributedConfig { mode: DistributedMode::Zero1, bucket_mib: 1, ..DistributedConfig::default() };
        for size in [1, 2, 3, 5, 8] {
            let whole = division(0, size, &config);
            let mut owners: Vec<Vec<u8>> =
                whole.parameters().iter().map(|spec| vec![0; spec.len()]).collect();
            let mut micro_batches = 0;
            for rank in 0..size {
                let division = division(rank, size, &config);
                assert_eq!(division.buckets, whole.buckets);
                assert_eq!(division.micro_batches().start, micro_batches);
                micro_batches = division.micro_batches().end;
                for bucket in division.buckets() {
                    for PieceSegment { parameter, values, in_piece } in division.segments(bucket) {
                        assert_eq!(values.len(), in_piece.len());
                        owners[parameter][values].iter_mut().for_each(|owners| *owners += 1);
                    }
                }
                let values = division.optimizer_values();
                let even = owners.iter().map(Vec::len).sum::<usize>() / size;
                assert!(values.abs_diff(even) <= BLOCK * division.buckets().len(), "{values}, {even}");
                assert_eq!(
                    division.owned_ranges().iter().map(|(_, values)| values.len()).sum::<usize>(),
                    values
                );
            }
            assert_eq!(micro_batches, 11);
            assert!(owners.iter().flatten().all(|&owners| owners == 1));
            assert!(whole.buckets().len() > 2);
        }
    }

    #[test]
    fn nodes_are_few() {
        let config = DistributedConfig { deterministic: true, ..DistributedConfig::default() };
        let levels = |rank, size| -> Vec<u32> {
            division(0, size, &config).nodes_of(rank).iter().map(|node| node.level).collect()
        };
        assert_eq!(levels(0, 1), [3, 1, 0]);
        assert_eq!((levels(0, 2), levels(1, 2)), (vec![2, 0], vec![0, 1, 1, 0]));
        assert_eq!(division(0, 2, &DistributedConfig::default()).nodes_of(1), [TreeNode::leaf(1, ())]);
        let two_each = DistributedConfig { ranks_per_process: 2, ..DistributedConfig::default() };
        let leaves = |rank| division(0, 4, &two_each).nodes_of(rank);
        assert_eq!((leaves(2), leaves(3)), (vec![TreeNode::leaf(1, ())], vec![]));
    }

    #[test]
    fn ranks_per_process_must_divide_the_ranks() {
        let train = TrainConfig {
            steps: Some(1),
            global_batch_size: 8,
            micro_batch_size: 1,
            ..TrainConfig::default()
        };
        let config = DistributedConfig { ranks_per_process: 2, ..DistributedConfig::default() };
        let error =
            Division::for_rank(&config, &train, &LlamaConfig::default(), 0, 3).unwrap_err().to_string();
        assert_eq!(error, "distributed.ranks_per_process = 2: must divide the 3 ranks");
    }

    #[test]
    fn ranks_without_micro_batches_are_refused() {
        let train = TrainConfig {
            steps: Some(1),
            global_batch_size: 8,
            micro_batch_size: 4,
            ..TrainConfig::default()
        };
        let error = Division::for_rank(&DistributedConfig::default(), &train, &LlamaConfig::default(), 0, 3);
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("train.micro_batch_size = 4: makes 2 micro-batches"), "{message}");
    }
}
