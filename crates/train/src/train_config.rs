//! The `[train]` section.

use fineline_diagnostics::{Checker, ConfigSection, Key, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::token_count::TokenCount;

/// The `[train]` section: length of the run and batch sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Length of the run in optimizer steps. Set either this or `tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Length of the run in tokens, such as `"1.05T"` or `250000000`, rounded down to complete steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCount>,
    /// Number of sequences per optimizer step.
    pub global_batch_size: usize,
    /// Number of sequences per forward and backward pass. The gradients of `global_batch_size /
    /// micro_batch_size` passes are accumulated and equal those of one large pass. A smaller value takes less
    /// memory.
    pub micro_batch_size: usize,
    /// How the loss is averaged: `"token_mean"` weights all targets of a step equally, `"sequence_mean"` all
    /// sequences.
    pub loss: LossReduction,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: None,
            tokens: None,
            global_batch_size: 8,
            micro_batch_size: 8,
            loss: LossReduction::TokenMean,
        }
    }
}

/// How the loss of a step is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossReduction {
    /// The mean over all targets of the global batch (Amber, and most trainers).
    TokenMean,
    /// The mean over the sequences of the global batch, of each sequence's mean over its targets (EasyLM,
    /// `OpenLLaMA`). A sequence without targets counts as a loss of 0, as in EasyLM.
    SequenceMean,
}

impl TrainConfig {
    /// Returns the number of tokens that one step consumes.
    #[must_use]
    pub fn tokens_per_step(&self, seq_len: usize) -> u64 {
        self.global_batch_size as u64 * seq_len as u64
    }

    /// Returns the length of the run in steps.
    ///
    /// # Errors
    /// [`TrainError::Config`] if the section is invalid, or if `tokens` is less than one step.
    pub fn total_steps(&self, seq_len: usize) -> Result<u64, TrainError> {
        self.validate("train")?;
        let per_step = self.tokens_per_step(seq_len).max(1);
        match (self.steps, self.tokens) {
            (None, Some(tokens)) if tokens.0 < per_step => {
                let key = Key::default().field("train").field("tokens");
                let message = format!(
                    "must be at least the {per_step} tokens of one step \
                     (train.global_batch_size × data.seq_len)"
                );
                Err(Problem::new(key, message).with_value(format_args!("{tokens}")).into())
            }
            (None, Some(tokens)) => Ok(tokens.0 / per_step),
            (steps, _) => Ok(steps.unwrap_or_default()),
        }
    }
}

impl ConfigSection for TrainConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        let (batch, micro_batch) = (self.global_batch_size, self.micro_batch_size);
        checker.require(batch > 0, "global_batch_size", batch, "must be at least 1");
        if batch > 0 && (micro_batch == 0 || !batch.is_multiple_of(micro_batch)) {
            let message = format!("must divide train.global_batch_size = {batch}");
            let problem = Problem::new(checker.key("micro_batch_size"), message)
                .with_value(micro_batch)
                .with_remedy(format!("use {}", nearest_divisors(batch, micro_batch)));
            checker.push(problem);
        }
        match (self.steps, self.tokens) {
            (Some(steps), Some(_)) => {
                checker.report(
                    "steps",
                    steps,
                    "must be absent if train.tokens is given: both set the length of the run",
                );
            }
            (None, None) => {
                let message = "is missing: it or train.tokens must set the length of the run";
                checker.push(Problem::new(checker.key("steps"), message));
            }
            (Some(0), None) => checker.report("steps", 0, "must be at least 1"),
            _ => {}
        }
    }
}

/// Returns the divisors of `whole` closest to `part`, such as `2 or 4`.
fn nearest_divisors(whole: usize, part: usize) -> String {
    let divides = |divisor: &usize| whole.is_multiple_of(*divisor);
    let below = (1..part.min(whole)).rev().find(divides);
    let above = (part + 1..=whole).find(divides);
    let divisors: Vec<String> =
        [below, above].into_iter().flatten().map(|divisor| divisor.to_string()).collect();
    divisors.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(steps: Option<u64>, tokens: Option<u64>) -> TrainConfig {
        TrainConfig { steps, tokens: tokens.map(TokenCount), ..TrainConfig::default() }
    }

    #[test]
    fn a_run_is_as_long_as_its_steps_or_its_tokens() {
        assert_eq!(config(Some(7), None).total_steps(16).unwrap(), 7);
        assert_eq!(config(None, Some(8 * 16 * 5 + 127)).total_steps(16).unwrap(), 5);
        // OpenLLaMA: 250,000 steps of 2048 x 2048 tokens.
        let open_llama = TrainConfig { global_batch_size: 2048, ..config(None, Some(1_048_576_000_000)) };
        assert_eq!(open_llama.total_steps(2048).unwrap(), 250_000);
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        let error = |config: TrainConfig| config.total_steps(16).unwrap_err().to_string();
        assert!(error(config(None, None)).starts_with("train.steps: is missing"));
        assert!(
            error(config(Some(1), Some(1)))
                .starts_with("train.steps = 1: must be absent if train.tokens is given")
        );
        assert!(error(config(Some(0), None)).starts_with("train.steps = 0: must"));
        assert!(error(config(None, Some(127))).starts_with("train.tokens = 127: must"));
        assert!(
            error(TrainConfig { global_batch_size: 0, ..config(Some(1), None) })
                .starts_with("train.global_batch_size")
        );
        for micro_batch_size in [0, 3, 16] {
            let error = error(TrainConfig { micro_batch_size, ..config(Some(1), None) });
            assert!(error.starts_with("train.micro_batch_size"), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<TrainConfig>(r#"{"step": 3}"#).is_err());
        let parsed: TrainConfig =
            serde_json::from_str(r#"{"tokens": "2K", "loss": "sequence_mean"}"#).unwrap();
        assert_eq!((parsed.tokens, parsed.loss), (Some(TokenCount(2000)), LossReduction::SequenceMean));
    }
}
