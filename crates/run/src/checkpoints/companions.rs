//! Files of a checkpoint other than tensors: the tokenizer and the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_data::Tokenizer;
use fineline_layout::RUN_CONFIG_FILE;
use fs_err as fs;

use crate::config::RunConfig;
use crate::error::RunError;

/// Reads the configuration of the run that a checkpoint belongs to. `None` if the checkpoint isn't
/// fineline's.
///
/// # Errors
/// [`RunError::StoredConfig`] if the file isn't a configuration.
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

/// Returns the companion files of a checkpoint: the tokenizer, so that other tools can load it, and the
/// configuration, so that `probe` evaluates as the run does. The copy of the configuration names no
/// directory: equal runs write equal checkpoints in any place.
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
