//! The `[train]` section.

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
    /// Checks ranges and how the keys fit together.
    pub fn validate(&self) -> Result<(), TrainError> {
        if self.global_batch_size == 0 {
            return Err(TrainError::config("train.global_batch_size", "must be at least 1"));
        }
        if self.micro_batch_size == 0 || !self.global_batch_size.is_multiple_of(self.micro_batch_size) {
            return Err(TrainError::config(
                "train.micro_batch_size",
                format!(
                    "({}) must divide train.global_batch_size ({})",
                    self.micro_batch_size, self.global_batch_size
                ),
            ));
        }
        match (self.steps, self.tokens) {
            (Some(_), Some(_)) => Err(TrainError::config(
                "train.steps",
                "and train.tokens both set the length of the run: give one",
            )),
            (None, None) => {
                Err(TrainError::config("train.steps", "or train.tokens must set the length of the run"))
            }
            (Some(0), None) => Err(TrainError::config("train.steps", "must be at least 1")),
            _ => Ok(()),
        }
    }

    /// Returns the number of tokens that one step consumes.
    #[must_use]
    pub fn tokens_per_step(&self, seq_len: usize) -> u64 {
        self.global_batch_size as u64 * seq_len as u64
    }

    /// Returns the length of the run in steps.
    ///
    /// # Errors
    /// [`TrainError::Config`] if a value is out of range, or if the tokens are fewer than those of one step.
    pub fn total_steps(&self, seq_len: usize) -> Result<u64, TrainError> {
        self.validate()?;
        let per_step = self.tokens_per_step(seq_len).max(1);
        match (self.steps, self.tokens) {
            (None, Some(tokens)) if tokens.0 < per_step => Err(TrainError::config(
                "train.tokens",
                format!(
                    "({tokens}) must be at least the {per_step} tokens of one step \
                     (train.global_batch_size x data.seq_len)"
                ),
            )),
            (None, Some(tokens)) => Ok(tokens.0 / per_step),
            (steps, _) => Ok(steps.unwrap_or_default()),
        }
    }
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
        assert!(error(config(None, None)).starts_with("train.steps or train.tokens"));
        assert!(error(config(Some(1), Some(1))).starts_with("train.steps and train.tokens"));
        assert!(error(config(Some(0), None)).starts_with("train.steps must"));
        assert!(error(config(None, Some(127))).starts_with("train.tokens (127)"));
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
