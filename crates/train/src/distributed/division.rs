//! The division of a step among ranks.

use std::ops::Range;

use fineline_model::{LlamaConfig, ParameterSpec};
use fineline_ranks::{RankThreads, Ranks};

use crate::distributed::config::{DistributedConfig, DistributedMode};
use crate::distributed::tree::{TreeNode, TreeSum};
use crate::error::TrainError;
use crate::train_config::TrainConfig;

/// Values are owned, and their squares added up, in blocks of this many: what doesn't depend on the number of ranks.
pub(crate) const BLOCK: usize = 4096;

/// Who does what of a step: a function of the configuration and the number of ranks, the same on all of them.
///
/// All parameters stand in a row, in their order, and are cut into *buckets* of whole parameters. Of every bucket each rank owns a
/// *piece*. What a piece has of one parameter is a *segment*.
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

/// Consecutive parameters whose gradients travel together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GradientBucket {
    /// Which parameters.
    pub(crate) parameters: Range<usize>,
    /// Values of all.
    pub(crate) len: usize,
    /// What each rank owns.
    pub(crate) pieces: Vec<Range<usize>>,
}

impl GradientBucket {
    /// Values of each rank's piece.
    pub(crate) fn lens(&self) -> Vec<usize> {
        self.pieces.iter().map(ExactSizeIterator::len).collect()
    }
}

/// What a piece has of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PieceSegment {
    /// Which parameter.
    pub(crate) parameter: usize,
    /// Which of its values.
    pub(crate) values: Range<usize>,
    /// Where they stand in the piece.
    pub(crate) in_piece: Range<usize>,
}

impl Division {
    /// How `ranks` divide the steps of a model.
    ///
    /// # Errors
    /// There are fewer micro-batches than ranks.
    ///
    /// # Panics
    /// If the configuration has several ranks per process, and these ranks are not such.
    pub fn new(
        config: &DistributedConfig,
        train: &TrainConfig,
        model: &LlamaConfig,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        let threads = ranks.threads().map_or(1, RankThreads::count);
        assert!([1, threads].contains(&config.ranks_per_process), "a process has {threads} ranks");
        Self::of(config, train, model, ranks.rank(), ranks.size())
    }

    /// How `size` ranks divide the steps of a model, as `rank` sees it.
    ///
    /// # Errors
    /// There are fewer micro-batches than ranks, or ranks that fill no process.
    pub fn of(
        config: &DistributedConfig,
        train: &TrainConfig,
        model: &LlamaConfig,
        rank: usize,
        size: usize,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        train.validate()?;
        let micro_batches = train.global_batch_size / train.micro_batch_size;
        if micro_batches < size {
            return Err(TrainError::config(
                "train.micro_batch_size",
                format!(
                    "({}) makes {micro_batches} micro-batches of train.global_batch_size ({}): fewer than the {size} ranks, \
                     some of which would have nothing to do",
                    train.micro_batch_size, train.global_batch_size
                ),
            ));
        }
        if !size.is_multiple_of(config.ranks_per_process) {
            return Err(TrainError::config(
                "distributed.ranks_per_process",
                format!("({}) doesn't divide the {size} ranks", config.ranks_per_process),
            ));
        }
        let parameters = model.parameters();
        let buckets = buckets(&parameters, size, (config.bucket_mib << 20) / size_of::<f32>());
        let DistributedConfig { mode, deterministic, ranks_per_process, .. } = *config;
        Ok(Self { rank, size, mode, deterministic, ranks_per_process, micro_batches, parameters, buckets })
    }

    /// Whether a step is one process's alone, and its order of additions free.
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        self.size == 1 && !self.deterministic && self.mode == DistributedMode::DataParallel
    }

    /// Whether each rank has a part of the moments only.
    #[must_use]
    pub fn shards_optimizer_state(&self) -> bool {
        self.size > 1 && self.mode == DistributedMode::Zero1
    }

    /// This rank's number, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The micro-batches of a step that are this rank's.
    #[must_use]
    pub fn micro_batches(&self) -> Range<usize> {
        self.micro_batches_of(self.rank)
    }

    pub(crate) fn micro_batches_of(&self, rank: usize) -> Range<usize> {
        share(self.micro_batches, rank, self.size)
    }

    /// How many of a parameter's moments this rank keeps, of all parameters: values, not bytes.
    #[must_use]
    pub fn moments(&self) -> usize {
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

    /// Whether the ranks of a process add up their gradients among themselves before others hear of them.
    pub(crate) fn sums_within_process(&self) -> bool {
        self.ranks_per_process > 1 && !self.deterministic
    }

    /// Whether nobody else has to hear of them: each rank then has all gradients, and makes the whole update.
    pub(crate) fn is_one_process(&self) -> bool {
        self.size == self.ranks_per_process && !self.shards_optimizer_state()
    }

    /// The leaf of a rank's own sum where the order of additions is free: one per process, of the first of its ranks.
    pub(crate) fn leaf_of(&self, rank: usize) -> Option<usize> {
        rank.is_multiple_of(self.ranks_per_process).then_some(rank / self.ranks_per_process)
    }

    /// The nodes of the tree of additions that a rank brings to an exchange, their sums left out. Where the order is free, it is one
    /// sum per process, and the tree is over processes.
    pub(crate) fn nodes_of(&self, rank: usize) -> Vec<TreeNode<()>> {
        if !self.deterministic {
            return self.leaf_of(rank).map(|leaf| TreeNode::leaf(leaf, ())).into_iter().collect();
        }
        let mut tree = TreeSum::new(|(), ()| ());
        self.micro_batches_of(rank).for_each(|leaf| tree.push(TreeNode::leaf(leaf, ())));
        tree.into_nodes()
    }

    /// What this rank owns of a bucket, parameter by parameter.
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

    /// Which values of each parameter this rank has moments of, in the order of parameters. A parameter of which it has none is left out.
    pub(crate) fn owned(&self) -> Vec<(&ParameterSpec, Range<usize>)> {
        if !self.shards_optimizer_state() {
            return self.parameters.iter().map(|spec| (spec, 0..spec.len())).collect();
        }
        let segments = self.buckets.iter().flat_map(|bucket| self.segments(bucket));
        segments.map(|segment| (&self.parameters[segment.parameter], segment.values)).collect()
    }
}

/// The part of `0..total` that is `place`'s of `count`, as even as whole numbers allow.
fn share(total: usize, place: usize, count: usize) -> Range<usize> {
    total * place / count..total * (place + 1) / count
}

fn buckets(parameters: &[ParameterSpec], size: usize, most: usize) -> Vec<GradientBucket> {
    let mut buckets: Vec<GradientBucket> = Vec::new();
    for (at, spec) in parameters.iter().enumerate() {
        match buckets.last_mut() {
            Some(bucket) if bucket.len + spec.len() <= most => {
                bucket.parameters.end = at + 1;
                bucket.len += spec.len();
            }
            _ => buckets.push(GradientBucket { parameters: at..at + 1, len: spec.len(), pieces: Vec::new() }),
        }
    }
    for bucket in &mut buckets {
        let blocks = bucket.len.div_ceil(BLOCK);
        let piece = |rank| {
            let blocks = share(blocks, rank, size);
            blocks.start * BLOCK..(blocks.end * BLOCK).min(bucket.len)
        };
        bucket.pieces = (0..size).map(piece).collect();
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
        Division::of(config, &train, &model, rank, size).unwrap()
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
                let moments = division.moments();
                let even = owners.iter().map(Vec::len).sum::<usize>() / size;
                assert!(moments.abs_diff(even) <= BLOCK * division.buckets().len(), "{moments}, {even}");
                assert_eq!(division.owned().iter().map(|(_, values)| values.len()).sum::<usize>(), moments);
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
    fn ranks_that_fill_no_process_are_refused() {
        let train = TrainConfig {
            steps: Some(1),
            global_batch_size: 8,
            micro_batch_size: 1,
            ..TrainConfig::default()
        };
        let config = DistributedConfig { ranks_per_process: 2, ..DistributedConfig::default() };
        let error = Division::of(&config, &train, &LlamaConfig::default(), 0, 3).unwrap_err().to_string();
        assert_eq!(error, "distributed.ranks_per_process (2) doesn't divide the 3 ranks");
    }

    #[test]
    fn ranks_without_work_are_refused() {
        let train = TrainConfig {
            steps: Some(1),
            global_batch_size: 8,
            micro_batch_size: 4,
            ..TrainConfig::default()
        };
        let error = Division::of(&DistributedConfig::default(), &train, &LlamaConfig::default(), 0, 3);
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("train.micro_batch_size (4) makes 2 micro-batches"), "{message}");
    }
}
