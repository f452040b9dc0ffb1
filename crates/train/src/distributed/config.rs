//! The `[distributed]` section.

use fineline_diagnostics::{Checker, ConfigSection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[distributed]` section: how several ranks share a step. Ranks are processes started by `mpirun` or
/// `srun`, or threads of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistributedConfig {
    /// `"data_parallel"`: ranks share the sequences of a step. `"zero1"`: they also shard the optimizer
    /// state.
    #[schemars(extend("x-resume" = "may-change"))]
    pub mode: DistributedMode,
    /// Whether losses and weights have the same bits on any number of ranks with the same number of threads
    /// each. If so, the gradient of each micro-batch is a leaf of one fixed tree of additions, which takes
    /// memory for about log2(micro-batches per rank) gradients.
    pub deterministic: bool,
    /// Size of the buckets in which gradients are exchanged, in MiB. Parameters are never split, so a bucket
    /// can be larger.
    #[schemars(extend("x-resume" = "may-change"))]
    pub bucket_mib: usize,
    /// Number of ranks per process, as threads: one per device, from `cuda:0` up. Unless `deterministic` is
    /// set, their gradients are summed before processes exchange anything: by NCCL on CUDA, in host memory
    /// elsewhere. On `cpu` and `wgpu` they share one device and are no faster than a single rank.
    #[schemars(extend("x-resume" = "may-change"))]
    pub ranks_per_process: usize,
    /// Seconds after which a rank that waits for another aborts the job, with a message that names the other.
    /// Set it above the time of a micro-batch. Evaluation and data preparation don't count.
    #[schemars(extend("x-resume" = "may-change"))]
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

/// How ranks share the work and the state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DistributedMode {
    /// Ranks share the sequences of a step. Each rank has all weights and the whole optimizer state.
    DataParallel,
    /// Ranks also shard the optimizer state: stage 1 of `ZeRO` (Rajbhandari et al., 2020).
    Zero1,
}

impl ConfigSection for DistributedConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            (1..=4096).contains(&self.bucket_mib),
            "bucket_mib",
            self.bucket_mib,
            "must be from 1 to 4096",
        );
        checker.require(
            (1..=1024).contains(&self.ranks_per_process),
            "ranks_per_process",
            self.ranks_per_process,
            "must be from 1 to 1024",
        );
        checker.require(self.timeout_s > 0, "timeout_s", self.timeout_s, "must be at least 1");
    }
}
