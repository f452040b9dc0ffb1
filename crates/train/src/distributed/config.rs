//! The `[distributed]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The `[distributed]` section: how several ranks (processes that `mpirun` or `srun` started, or threads of one) share a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistributedConfig {
    /// What ranks share: `"data_parallel"`, the sequences of a step; `"zero1"`, also the optimizer's moments, of which each rank
    /// then has a part.
    pub mode: DistributedMode,
    /// Whether losses and weights have the same bits on any number of ranks with the same number of threads each. Each
    /// micro-batch's gradient is then a leaf of one fixed tree of additions, which takes memory for about as many gradients as
    /// the number of micro-batches per rank has binary digits.
    pub deterministic: bool,
    /// Gradients are exchanged in buckets of about this many MiB. A parameter is never cut in two, so that a bucket can be larger.
    pub bucket_mib: usize,
    /// Ranks that each process has, as threads: one per device, `cuda:0` and up. Unless the order of additions is fixed, their
    /// gradients are added up before processes exchange anything: by NCCL on CUDA, in the host's memory elsewhere. On `cpu` and
    /// `wgpu` they share the one device, and are no faster than a single rank.
    pub ranks_per_process: usize,
    /// A rank that has waited for another for so many seconds ends the job, with a message that names the other. Set it above the time that a micro-batch takes;
    /// probes, validation and getting data ready aren't counted.
    pub timeout_s: u64,
}

impl Default for DistributedConfig {
    fn default() -> Self {
        Self {
            mode: DistributedMode::DataParallel,
            deterministic: false,
            bucket_mib: 32,
            ranks_per_process: 1,
            timeout_s: 600,
        }
    }
}

/// What ranks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DistributedMode {
    /// The sequences of a step. Each rank has all weights and all moments.
    DataParallel,
    /// Besides, the optimizer's moments: stage 1 of `ZeRO` (Rajbhandari et al., 2020).
    Zero1,
}

impl DistributedConfig {
    /// Checks ranges.
    pub fn validate(&self) -> Result<(), TrainError> {
        if !(1..=4096).contains(&self.bucket_mib) {
            return Err(TrainError::config("distributed.bucket_mib", "must be from 1 to 4096"));
        }
        if !(1..=1024).contains(&self.ranks_per_process) {
            return Err(TrainError::config("distributed.ranks_per_process", "must be from 1 to 1024"));
        }
        if self.timeout_s == 0 {
            return Err(TrainError::config("distributed.timeout_s", "must be at least 1"));
        }
        Ok(())
    }
}
