//! What a checkpoint carries besides tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_data::Tokenizer;
use fineline_layout::RUN_CONFIG_FILE;
use fs_err as fs;

use crate::config::RunConfig;
use crate::error::RunError;

/// The configuration of the run that a checkpoint is of; none in a folder that others made.
pub(crate) fn stored_config(checkpoint: &Path) -> Result<Option<RunConfig>, RunError> {
    let path = checkpoint.join(RUN_CONFIG_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| RunError::StoredConfig { path, source: Box::new(source) })
}

/// What a checkpoint carries besides tensors: the tokenizer, so that others can load it, and the configuration, so that `probe` asks
/// the questions of the run. The copy names no folder: equal runs leave equal checkpoints wherever they lie.
pub(super) fn companion_files(
    config: &RunConfig,
    tokenizer: &Tokenizer,
) -> Result<BTreeMap<String, Vec<u8>>, RunError> {
    let mut copy = config.clone();
    copy.run.dir = PathBuf::from(&copy.run.name);
    copy.storage.remote = None;
    let mut files = tokenizer.files()?;
    files.insert(RUN_CONFIG_FILE.to_owned(), copy.to_toml().into_bytes());
    Ok(files)
}
