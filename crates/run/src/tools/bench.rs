//! Benchmarks of training steps and probes on this machine.

use std::time::Instant;

use fineline_probe::{EvaluationRound, Suite};
use fineline_ranks::Ranks;
use fineline_train::{StopSignal, Trainer};
use serde::Serialize;

use crate::config::{Resolved, recipe};
use crate::error::RunError;
use crate::prepare::prepare;
use crate::progress::RunProgress;
use crate::ranks::{divide, first_in_turn, on_ranks};
use crate::records::metrics::mfu;

/// Number of steps before the first that is timed, in which caches fill and buffers are allocated.
const WARM_UP_STEPS: u64 = 2;

/// Result of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct BenchResult {
    /// Tokens per second: tokens of a step divided by the median step time.
    pub tokens_per_s: f64,
    /// Median step time in seconds.
    pub step_s: f64,
    /// Shortest step time.
    pub min_step_s: f64,
    /// Longest step time.
    pub max_step_s: f64,
    /// Number of timed steps.
    pub steps: u64,
    /// Model FLOP utilization. Null without `log.peak_tflops`.
    pub mfu: Option<f64>,
    /// Largest resident set of the process so far, in MiB. Null if the system doesn't report it.
    pub peak_rss_mib: Option<f64>,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Number of ranks.
    pub ranks: usize,
    /// Compute threads per process.
    pub threads: usize,
    /// Device.
    pub device: String,
    /// Loss of the last step. It is equal for builds that compute the same.
    pub loss: f64,
    /// Result of an evaluation round, if it was requested.
    pub probes: Option<ProbeBenchResult>,
}

/// Cost of an evaluation round.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeBenchResult {
    /// Seconds of the round.
    pub seconds: f64,
    /// Number of scored choices.
    pub requests: usize,
    /// Choices scored per second.
    pub requests_per_s: f64,
}

/// Scope of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchScope {
    /// Training steps.
    Steps,
    /// Training steps, and a round of the configured probes.
    StepsAndProbes,
}

/// Times `steps` steps of the configured run, from initialized weights. Only the data cache is written.
///
/// # Errors
/// As of a run.
pub fn bench(
    resolved: &Resolved,
    steps: u64,
    scope: BenchScope,
    processes: &dyn Ranks,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<BenchResult, RunError> {
    on_ranks(
        &resolved.config,
        processes,
        |ranks| bench_as(ranks, resolved, steps, scope, progress),
        |ranks| bench_as(ranks, resolved, steps, BenchScope::Steps, &mut |_| ()).map(drop),
    )
}

fn bench_as(
    ranks: &dyn Ranks,
    resolved: &Resolved,
    steps: u64,
    scope: BenchScope,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<BenchResult, RunError> {
    let config = &resolved.config;
    let prepared = first_in_turn(ranks, || prepare(resolved, &StopSignal::default(), progress))?;
    let device = config.open_device(ranks)?.autodiff();
    let division = divide(resolved, ranks)?;
    let model = config.model.init(config.run.seed, &device);
    let mut trainer = Trainer::new(recipe(config), model)?.with_division(division);
    let mut seconds = Vec::new();
    let mut loss = 0.0;
    for step in 1..=WARM_UP_STEPS + steps.max(1) {
        let indices = trainer.rows().rows_at(step, trainer.own_rows());
        let rows: Vec<_> = indices.map(|index| prepared.dataset.row(index)).collect();
        ranks.barrier();
        let start = Instant::now();
        loss = f64::from(trainer.step(&rows, ranks)?.loss);
        if step > WARM_UP_STEPS {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let step_s = f64::midpoint(seconds[(seconds.len() - 1) / 2], seconds[seconds.len() / 2]);
    let tokens_per_s = config.train.tokens_per_step(config.data.seq_len) as f64 / step_s;
    Ok(BenchResult {
        tokens_per_s,
        step_s,
        min_step_s: seconds[0],
        max_step_s: seconds[seconds.len() - 1],
        steps: seconds.len() as u64,
        mfu: mfu(config, tokens_per_s),
        peak_rss_mib: peak_rss_mib(),
        parameters: config.model.parameter_count(),
        ranks: ranks.size(),
        threads: rayon::current_num_threads(),
        device: config.run.device.to_string(),
        loss,
        probes: match scope {
            BenchScope::Steps => None,
            BenchScope::StepsAndProbes => Some(time_probes(&prepared.suites, &trainer)?),
        },
    })
}

fn time_probes(suites: &[Suite], trainer: &Trainer) -> Result<ProbeBenchResult, RunError> {
    let model = trainer.model().valid();
    let start = Instant::now();
    let mut requests = 0;
    for suite in suites {
        let results = suite.run(&model, &EvaluationRound::WHOLE)?.results;
        requests += results.iter().map(|result| result.items.len()).sum::<usize>();
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(ProbeBenchResult { seconds, requests, requests_per_s: requests as f64 / seconds })
}

/// Returns the largest resident set of this process so far in MiB, as counted by the kernel.
#[must_use]
pub fn peak_rss_mib() -> Option<f64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
