//! Identity of a run, stored in each of its checkpoints.

use std::collections::BTreeMap;

use fineline_model::SpecialTokens;

/// The identity of a run, and files that are copied into each of its checkpoints.
#[derive(Clone, Debug, Default)]
pub struct CheckpointIdentity {
    /// `run.seed`.
    pub seed: u64,
    /// Hash of the resolved configuration.
    pub config_hash: String,
    /// Fingerprint of everything that determines the rows.
    pub data_fingerprint: String,
    /// Special tokens, for `config.json` and `generation_config.json`.
    pub special_tokens: SpecialTokens,
    /// Content of files that are copied into each checkpoint, by name: the tokenizer,
    /// `tokenizer_config.json`.
    pub files: BTreeMap<String, Vec<u8>>,
}
