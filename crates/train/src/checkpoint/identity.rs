//! What every checkpoint of a run carries.

use std::collections::BTreeMap;

use fineline_model::SpecialTokens;

/// What every checkpoint of a run carries besides the state of training.
#[derive(Clone, Debug, Default)]
pub struct CheckpointIdentity {
    /// `run.seed`.
    pub seed: u64,
    /// Hash of the resolved configuration.
    pub config_hash: String,
    /// Fingerprint of everything that decides the rows.
    pub data_fingerprint: String,
    /// For `config.json` and `generation_config.json`.
    pub special_tokens: SpecialTokens,
    /// Files that are put into every checkpoint as they are, by name: the tokenizer, `tokenizer_config.json`.
    pub files: BTreeMap<String, Vec<u8>>,
}
