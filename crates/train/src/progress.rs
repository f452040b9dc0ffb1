//! How far a run has come.

use serde::{Deserialize, Serialize};

/// How far a run has come: with the weights and the moments, all that the next step depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Steps done, skipped ones too.
    pub step: u64,
    /// Tokens consumed, those of skipped steps too.
    pub tokens: u64,
    /// Steps skipped since the last one that was not.
    pub consecutive_skips: u32,
}
