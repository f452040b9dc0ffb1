//! `metrics.jsonl`: one line per logged step.

use serde::{Deserialize, Serialize};

use crate::config::RunConfig;

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRecord {
    /// Number of the update, counted from 1.
    pub step: u64,
    /// Number of tokens consumed so far.
    pub tokens: u64,
    /// Loss of the step's rows before the update, in nats per token. Null if it isn't finite.
    pub loss: Option<f32>,
    /// Learning rate of the update.
    pub lr: f64,
    /// Global norm of the gradient before clipping. Null if it isn't finite.
    pub grad_norm: Option<f32>,
    /// Seconds of the step, with data, without probes and checkpoints.
    pub step_s: f64,
    /// Seconds for which the step waited for its rows.
    pub data_wait_s: f64,
    /// Tokens per second of the step.
    pub tokens_per_s: f64,
    /// Model FLOP utilization. Null without `log.peak_tflops`.
    pub mfu: Option<f64>,
    /// Whether the update was skipped.
    pub skipped: bool,
    /// Chained hash of all parameters after the update, with `log.digest`. See `digests.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl MetricsRecord {
    /// Returns the record without the values that depend on the machine's speed. The rest is equal in a run
    /// and its repetition.
    #[must_use]
    pub fn without_timing(&self) -> Self {
        Self { step_s: 0.0, data_wait_s: 0.0, tokens_per_s: 0.0, mfu: None, ..self.clone() }
    }
}

/// Computes the model FLOP utilization at this speed. `None` without `log.peak_tflops`.
pub(crate) fn mfu(config: &RunConfig, tokens_per_s: f64) -> Option<f64> {
    let peak = config.log.peak_tflops? * 1e12;
    Some(tokens_per_s * config.model.flops_per_token(config.data.seq_len) as f64 / peak)
}
