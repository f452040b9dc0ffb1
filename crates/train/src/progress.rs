//! Progress of a run.

use serde::{Deserialize, Serialize};

/// Progress of a run. With the weights and the optimizer state, it is all that the next step depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Number of steps done, skipped ones included.
    pub step: u64,
    /// Number of tokens consumed, those of skipped steps included.
    pub tokens: u64,
    /// Number of consecutive skipped steps up to now.
    pub consecutive_skips: u32,
}
