//! `metrics.jsonl`: one line a logged step.

use serde::{Deserialize, Serialize};

use crate::config::RunConfig;

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRecord {
    /// The update just made, counted from 1.
    pub step: u64,
    /// Tokens consumed so far.
    pub tokens: u64,
    /// Loss of the step's rows before the update, in nats per token; null where it wasn't finite.
    pub loss: Option<f32>,
    /// Learning rate of the update.
    pub lr: f64,
    /// Global norm of the gradient before clipping; null where it wasn't finite.
    pub grad_norm: Option<f32>,
    /// Seconds of the step, data included, probes and checkpoints not.
    pub step_s: f64,
    /// Seconds for which the step waited for its rows.
    pub data_wait_s: f64,
    /// Tokens per second of the step.
    pub tokens_per_s: f64,
    /// Model FLOP utilization; null without a stated peak.
    pub mfu: Option<f64>,
    /// Whether the update was left out.
    pub skipped: bool,
    /// The chained hash of all parameters after the update, where `log.digest` asks for it: see `digests.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl MetricsRecord {
    /// The record without what depends on the machine's speed: what must be equal between a run and its repetition.
    #[must_use]
    pub fn without_timing(&self) -> Self {
        Self { step_s: 0.0, data_wait_s: 0.0, tokens_per_s: 0.0, mfu: None, ..self.clone() }
    }
}

/// Model FLOP utilization at this speed: null without a stated peak.
pub(crate) fn mfu(config: &RunConfig, tokens_per_s: f64) -> Option<f64> {
    let peak = config.log.peak_tflops? * 1e12;
    Some(tokens_per_s * config.model.flops_per_token(config.data.seq_len) as f64 / peak)
}
