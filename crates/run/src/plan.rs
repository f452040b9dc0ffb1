//! What a run would take, before anything is spent.

use fineline_train::TrainError;
use serde::Serialize;

use crate::config::RunConfig;

/// What the caller knows of the machines.
#[derive(Clone, Copy, Debug)]
pub struct Machines {
    /// Devices that share the global batch.
    pub devices: u64,
    /// Memory of one device in GiB, if known.
    pub memory_gib: Option<f64>,
    /// What one device computes in TFLOP/s, if known.
    pub tflops: Option<f64>,
}

/// A run in numbers. What nobody stated, or what follows from it, is null.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Parameters of the model.
    pub parameters: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of a step.
    pub tokens_per_step: u64,
    /// Tokens of the run.
    pub tokens: u64,
    /// Tokens per parameter; about 20 is compute-optimal (Hoffmann et al., 2022).
    pub tokens_per_parameter: f64,
    /// Floating-point operations of the run, without probes.
    pub flops: f64,
    /// Memory of one device at the height of a step.
    pub memory: Memory,
    /// Whether that fits into the stated memory, however slow the disk.
    pub fits: Option<bool>,
    /// Days at the stated speed, without probes.
    pub days: Option<f64>,
    /// Size of a checkpoint.
    pub checkpoint_bytes: u64,
    /// Size of all checkpoints that are kept at the end.
    pub checkpoints_bytes: u64,
}

/// Memory of one device at the height of a step, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The weights.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// What the backward pass needs of the forward pass of a micro-batch, and its intermediates.
    pub activations: u64,
    /// Logits of a micro-batch, as far as they exist at a time, and what the loss keeps of them.
    pub logits: u64,
    /// What a checkpoint being written holds on to while training replaces it: weights and moments.
    pub snapshot: u64,
    /// The program, its threads and buffers.
    pub program: u64,
    /// The height of a backward pass while a checkpoint is still being written, as where the disk takes longer than a step: all of
    /// the above.
    pub total: u64,
    /// The height where the disk is so fast that a checkpoint is written within a step: that of a backward pass, or of an update that
    /// replaces what a snapshot holds, whichever is more.
    pub total_on_fast_disk: u64,
}

/// The program before it has a model: code, threads, tokenizer, pages of token shards.
const PROGRAM_BYTES: u64 = 24 << 20;

/// Plans the configured run on these machines.
///
/// # Errors
/// A length that can't be.
pub fn plan(config: &RunConfig, machines: &Machines) -> Result<Plan, TrainError> {
    let seq_len = config.data.seq_len;
    let steps = config.train.total_steps(seq_len)?;
    let tokens_per_step = config.train.tokens_per_step(seq_len);
    let tokens = steps * tokens_per_step;
    let parameters = config.model.parameter_count();
    let flops = tokens as f64 * config.model.flops_per_token(seq_len) as f64;
    let memory = memory(config);
    let checkpoint_bytes = 3 * config.model.parameter_bytes();
    let seconds = machines.tflops.map(|tflops| flops / (tflops * 1e12 * machines.devices as f64));
    Ok(Plan {
        parameters,
        steps,
        tokens_per_step,
        tokens,
        tokens_per_parameter: tokens as f64 / parameters as f64,
        flops,
        memory,
        fits: machines.memory_gib.map(|gib| memory.total as f64 <= gib * f64::from(1 << 30)),
        days: seconds.map(|seconds| seconds / 86_400.0),
        checkpoint_bytes,
        checkpoints_bytes: checkpoint_bytes * kept_checkpoints(config, steps),
    })
}

fn memory(config: &RunConfig) -> Memory {
    let (batch, time) = (config.train.micro_batch, config.data.seq_len);
    let parameters = config.model.parameter_bytes();
    let (gradients, optimizer) = (parameters, 2 * parameters);
    let activations = config.model.activation_bytes(batch, time);
    let logits = config.model.logits_bytes(batch, time);
    let snapshot = parameters + optimizer;
    let program = PROGRAM_BYTES;
    let always = parameters + gradients + optimizer + program;
    // By the time that an update replaces what a snapshot holds, the activations of its step are gone.
    let total_on_fast_disk = always + (activations + logits).max(snapshot);
    let total = always + activations + logits + snapshot;
    Memory {
        parameters,
        gradients,
        optimizer,
        activations,
        logits,
        snapshot,
        program,
        total,
        total_on_fast_disk,
    }
}

/// Checkpoints on disk when the run is done: the last ones, and those that are kept for good.
fn kept_checkpoints(config: &RunConfig, steps: u64) -> u64 {
    let checkpoint = &config.checkpoint;
    let every = checkpoint.every_steps;
    let written = steps / every + u64::from(!steps.is_multiple_of(every));
    let last = written.min(checkpoint.keep_last as u64);
    // The last `last` ones come after this regular one.
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
