//! `digests.jsonl`: hashes of the parameters after each step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of `digests.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DigestRecord {
    /// The step whose update was just made.
    pub(crate) step: u64,
    /// BLAKE3 of the chain before it, then the step and the hashes of all tensors: two runs in which it is equal were equal at each step until then.
    pub(crate) chain: String,
    /// BLAKE3 of each parameter's float32 values, little-endian, in the model's order.
    pub(crate) tensors: Map<String, Value>,
}
