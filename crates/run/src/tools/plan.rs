//! Estimates of memory, time and disk space of a run.

use fineline_kernels::Precision;
use fineline_model::ParameterSpec;
use fineline_train::{DistributedMode, TrainError};
use serde::Serialize;

use crate::config::{DeviceName, RunConfig};

/// Properties of the machines.
#[derive(Clone, Copy, Debug)]
pub struct Machines {
    /// Number of devices that share the global batch.
    pub devices: u64,
    /// Memory of one device in GiB, if known.
    pub memory_gib: Option<f64>,
    /// Speed of one device in TFLOP/s, if known.
    pub tflops: Option<f64>,
}

/// Estimates for a run. Values that depend on unknown properties are null.
#[derive(Clone, Debug, Serialize)]
pub struct RunPlan {
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Number of optimizer steps.
    pub steps: u64,
    /// Number of tokens per step.
    pub tokens_per_step: u64,
    /// Number of tokens of the run.
    pub tokens: u64,
    /// Tokens per parameter; about 20 is compute-optimal (Hoffmann et al., 2022).
    pub tokens_per_parameter: f64,
    /// Number of floating-point operations of the run, without probes.
    pub flops: f64,
    /// Peak memory of one device during a step.
    pub memory: DeviceMemory,
    /// Whether it fits into the memory of a device, for any speed of the disk.
    pub fits: Option<bool>,
    /// Estimates for other modes and precisions. The configured one is the first.
    pub setups: Vec<PlannedSetup>,
    /// Days at the given speed, without probes.
    pub days: Option<f64>,
    /// Size of a checkpoint in bytes.
    pub checkpoint_bytes: u64,
    /// Size of all checkpoints that are kept at the end, in bytes.
    pub checkpoints_bytes: u64,
}

/// A mode and precision, and the memory that it takes per device.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlannedSetup {
    /// How ranks share the work.
    pub mode: DistributedMode,
    /// Precision of matmuls and of what lies between them.
    pub precision: Precision,
    /// Memory of one device.
    pub memory: DeviceMemory,
    /// Whether it fits into the memory of a device, for any speed of the disk.
    pub fits: Option<bool>,
    /// Largest `train.micro_batch_size` that fits. 0 if none does.
    pub largest_micro_batch: Option<usize>,
}

/// Peak memory of one device during a step, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// The weights, and their copy in the precision of matmuls, if that isn't float32.
    pub parameters: u64,
    /// The gradients. With several micro-batches per device, also the sum of the previous ones.
    pub gradients: u64,
    /// AdamW's optimizer state.
    pub optimizer: u64,
    /// Activations that the backward pass of a micro-batch needs, and intermediates.
    pub activations: u64,
    /// Logits of a micro-batch, as far as they exist at the same time, and what the loss keeps of them.
    pub logits: u64,
    /// Buffers of the gradient exchange, after the backward pass.
    pub exchange: u64,
    /// Weights and optimizer state that the writing of a checkpoint holds while training replaces them.
    pub snapshot: u64,
    /// The program, its threads and buffers.
    pub program: u64,
    /// Peak while a checkpoint is being written, if the disk takes longer than a step: the sum of the above,
    /// except that on a GPU only the larger of activations with logits and the exchange counts.
    pub total: u64,
    /// Peak if the disk writes a checkpoint within a step: the larger of the peaks of a backward pass and of
    /// an update that replaces the contents of a snapshot.
    pub total_on_fast_disk: u64,
}

/// The program without a model: code, threads, tokenizer, pages of token shards.
const PROGRAM_BYTES: u64 = 24 << 20;

/// Estimates the configured run on these machines.
///
/// # Errors
/// [`TrainError`] if the length of the run is invalid.
pub fn plan(config: &RunConfig, machines: &Machines) -> Result<RunPlan, TrainError> {
    let seq_len = config.data.seq_len;
    let steps = config.train.total_steps(seq_len)?;
    let tokens_per_step = config.train.tokens_per_step(seq_len);
    let tokens = steps * tokens_per_step;
    let parameters = config.model.parameter_count();
    let flops = tokens as f64 * config.model.flops_per_token(seq_len) as f64;
    let setups = setups(config, machines);
    let memory = setups[0].memory;
    let checkpoint_bytes = 3 * config.model.parameter_bytes();
    let seconds = machines.tflops.map(|tflops| flops / (tflops * 1e12 * machines.devices as f64));
    Ok(RunPlan {
        parameters,
        steps,
        tokens_per_step,
        tokens,
        tokens_per_parameter: tokens as f64 / parameters as f64,
        flops,
        memory,
        fits: setups[0].fits,
        setups,
        days: seconds.map(|seconds| seconds / 86_400.0),
        checkpoint_bytes,
        checkpoints_bytes: checkpoint_bytes * kept_checkpoints(config, steps),
    })
}

fn setups(config: &RunConfig, machines: &Machines) -> Vec<PlannedSetup> {
    let room = machines.memory_gib.map(|gib| (gib * f64::from(1 << 30)) as u64);
    let setup = |(mode, precision): (DistributedMode, Precision)| {
        let shares = WorkDivision { devices: machines.devices.max(1), mode };
        let memory_of = |micro_batch_size| memory(config, micro_batch_size, shares, precision);
        let largest = |room: u64| {
            (1..=config.train.global_batch_size).take_while(|batch| memory_of(*batch).total <= room).last()
        };
        let memory = memory_of(config.train.micro_batch_size);
        PlannedSetup {
            mode,
            precision,
            memory,
            fits: room.map(|room| memory.total <= room),
            largest_micro_batch: room.map(|room| largest(room).unwrap_or(0)),
        }
    };
    let precisions = match config.run.precision {
        Precision::F32 => [Precision::F32, Precision::Bf16Mixed],
        Precision::Bf16Mixed => [Precision::Bf16Mixed, Precision::F32],
    };
    let modes: &[DistributedMode] = if machines.devices > 1 {
        &[DistributedMode::DataParallel, DistributedMode::Zero1]
    } else {
        &[DistributedMode::DataParallel]
    };
    let setups = modes.iter().flat_map(|&mode| precisions.map(|precision| (mode, precision)));
    setups.map(setup).collect()
}

/// How devices divide the work.
#[derive(Clone, Copy, Debug)]
struct WorkDivision {
    devices: u64,
    mode: DistributedMode,
}

impl WorkDivision {
    /// Number of devices that optimizer state and snapshots are divided among.
    fn of_moments(self) -> u64 {
        match self.mode {
            DistributedMode::DataParallel => 1,
            DistributedMode::Zero1 => self.devices,
        }
    }

    /// Number of gradients that a device holds at the same time: that of a micro-batch, and the sum of the
    /// previous ones. With a fixed tree of additions, the sums that wait for their sibling.
    fn gradients(self, config: &RunConfig, micro_batch_size: usize) -> u64 {
        let micro_batches = (config.train.global_batch_size / micro_batch_size) as u64 / self.devices;
        match micro_batches {
            0 | 1 => 1,
            many if config.distributed.deterministic => u64::from(many.ilog2()) + 1,
            _ => 2,
        }
    }

    /// Memory of the gradient exchange: the largest bucket as sent and as received, and the device's own
    /// piece of it. If the optimizer state is sharded, its pieces of all buckets.
    fn exchange(self, config: &RunConfig) -> u64 {
        if self.devices == 1 {
            return 0;
        }
        let largest =
            config.model.parameters().iter().map(ParameterSpec::len).max().unwrap_or_default() as u64;
        let bucket = (4 * largest).max((config.distributed.bucket_mib as u64) << 20);
        let bucket = bucket.min(config.model.parameter_bytes());
        let pieces = match self.mode {
            DistributedMode::DataParallel => bucket,
            DistributedMode::Zero1 => config.model.parameter_bytes(),
        };
        pieces.div_ceil(self.devices) + 2 * bucket
    }
}

fn memory(
    config: &RunConfig,
    micro_batch_size: usize,
    shares: WorkDivision,
    precision: Precision,
) -> DeviceMemory {
    let time = config.data.seq_len;
    let float32 = config.model.parameter_bytes();
    let activations = config.model.activation_bytes(micro_batch_size, time);
    let (copy, activations) = match (precision, config.run.device) {
        (Precision::F32, _) => (0, activations),
        // Values between matmuls stay float32. The factors of a matmul are rounded for its duration.
        (Precision::Bf16Mixed, DeviceName::Cpu) => (0, activations + rounded_bytes(config, micro_batch_size)),
        (Precision::Bf16Mixed, _) => (float32 / 2, activations / 2),
    };
    let parameters = float32 + copy;
    let gradients = float32 * shares.gradients(config, micro_batch_size);
    let optimizer = (2 * float32).div_ceil(shares.of_moments());
    let logits = config.model.logits_bytes(micro_batch_size, time);
    let snapshot = (3 * float32).div_ceil(shares.of_moments());
    let exchange = shares.exchange(config);
    let program = PROGRAM_BYTES + kept_by_pool(config, gradients + activations + logits);
    let always = parameters + gradients + optimizer + program;
    // Gradients are exchanged after the activations are freed, but the memory pool of the CPU keeps their
    // memory.
    let step = match config.run.device {
        DeviceName::Cpu => activations + logits + exchange,
        _ => (activations + logits).max(exchange),
    };
    // When an update replaces the contents of a snapshot, the activations of its step are freed.
    let total_on_fast_disk = always + step.max(snapshot);
    let total = always + step + snapshot;
    DeviceMemory {
        parameters,
        gradients,
        optimizer,
        activations,
        logits,
        exchange,
        snapshot,
        program,
        total,
        total_on_fast_disk,
    }
}

/// Memory that the memory pool of the CPU holds beyond what is used. It is up to an eighth, because blocks
/// are only reused for the same size.
fn kept_by_pool(config: &RunConfig, pooled: u64) -> u64 {
    if config.run.device == DeviceName::Cpu { pooled / 8 } else { 0 }
}

/// Size of the factors of the largest matmul of a layer, as float32.
fn rounded_bytes(config: &RunConfig, micro_batch_size: usize) -> u64 {
    let (width, inner) = (config.model.hidden_size as u64, config.model.intermediate_size as u64);
    let tokens = (micro_batch_size * config.data.seq_len) as u64;
    4 * (tokens * inner + tokens.max(inner) * width)
}

/// Number of checkpoints on disk at the end of the run: the last ones, and those that are kept permanently.
fn kept_checkpoints(config: &RunConfig, steps: u64) -> u64 {
    let checkpoint = &config.checkpoint;
    let every = checkpoint.every_steps;
    let written = steps / every + u64::from(!steps.is_multiple_of(every));
    let last = written.min(checkpoint.keep_last as u64);
    // The last `last` checkpoints come after this regular one.
    let oldest_kept = (written - last) * every;
    let for_good = checkpoint.keep_every.map_or(0, |keep| oldest_kept / least_common_multiple(keep, every));
    let chunks = config.data.chunks.as_ref().filter(|_| checkpoint.every_chunk);
    let of_chunks = chunks.map_or(0, |chunks| (chunks.count - chunks.skip.len() as u64).min(steps));
    (last + for_good).max(of_chunks)
}

fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor.max(1) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_least() {
        for (a, b, multiple) in [(4, 6, 12), (1000, 10_000, 10_000), (7, 1, 7), (3, 3, 3)] {
            assert_eq!(least_common_multiple(a, b), multiple);
        }
    }
}
