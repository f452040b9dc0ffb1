//! What a task's numbers depend on besides the weights.

use serde::{Deserialize, Serialize};

/// What a task's numbers depend on besides the weights: hashes in hexadecimal, and the scorer's version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Of all of the task's items.
    pub data: String,
    /// Of the rules that made text of them.
    pub template: String,
    /// Of the tokenizer's file and whether texts begin with BOS.
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
