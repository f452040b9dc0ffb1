//! `digests.jsonl`: hashes of the parameters after each step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of `digests.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DigestRecord {
    /// The step whose update was just made.
    pub(crate) step: u64,
    /// BLAKE3 of the previous chain, the step and the hashes of all tensors. If it is equal in two runs, all
    /// their steps until then were equal.
    pub(crate) chain: String,
    /// BLAKE3 of each parameter's float32 values, little-endian, in the order of the model.
    pub(crate) tensors: Map<String, Value>,
}
