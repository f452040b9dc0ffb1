//! Provenance of a task's scores.

use serde::{Deserialize, Serialize};

/// Everything other than the weights that a task's scores depend on: hashes in hexadecimal, and the version
/// of the scorer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of all items of the task.
    pub data: String,
    /// Hash of the rules by which their texts are made.
    pub template: String,
    /// Hash of the tokenizer's file, and of whether texts begin with BOS.
    pub tokenizer: String,
    /// The scorer and its version.
    pub scorer: String,
}

#[cfg(test)]
impl Provenance {
    pub(crate) fn for_tests(data: &str) -> Self {
        Self { data: data.to_owned(), ..Self::default() }
    }
}
