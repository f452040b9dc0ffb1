//! Differences from the last start of a run.

use std::path::Path;

use fineline_diagnostics::Key;
use fineline_train::CheckpointDirectory;
use serde_json::Value;

use crate::config::{ConfigDifference, RunConfig};
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::records::events::Event;
use crate::records::identity::{RunIdentity, read_run_config};
use fineline_layout::RunDirectory;

/// Whether `key` is one of the `allowed` keys, or in one of the sections.
fn is_allowed(key: &str, allowed: &[String]) -> bool {
    let Ok(key) = key.parse::<Key>() else { return false };
    allowed.iter().filter_map(|allowed| allowed.parse().ok()).any(|allowed| key.starts_with(&allowed))
}

/// Returns the differences from the configuration of the last start as events.
///
/// # Errors
/// [`RunError::ConfigChanged`] with those that are neither free to change on resume nor `allowed`.
/// [`RunError::RowsRecounted`] if they change the numbering of rows.
pub(crate) fn changes_since_start(
    config: &RunConfig,
    directory: &RunDirectory,
    allowed: &[String],
) -> Result<Vec<Event>, RunError> {
    let Some(stored) = read_run_config(directory)? else { return Ok(Vec::new()) };
    refuse_unknown_allowances(config, &stored, allowed)?;
    let differences = stored.differences(config);
    if has_checkpoints(directory)? {
        refuse_recounted_rows(&differences, &directory.checkpoints())?;
    }
    let refused: Vec<ConfigDifference> = differences
        .iter()
        .filter(|difference| {
            !RunConfig::may_change_on_resume(&difference.key) && !is_allowed(&difference.key, allowed)
        })
        .cloned()
        .collect();
    if !refused.is_empty() && has_checkpoints(directory)? {
        return Err(RunError::ConfigChanged { dir: directory.root().to_owned(), differences: refused });
    }
    let event = |difference: ConfigDifference| Event::ConfigChanged {
        key: difference.key,
        before: difference.left.unwrap_or_default(),
        after: difference.right.unwrap_or_default(),
    };
    Ok(differences.into_iter().map(event).collect())
}

/// The keys that determine the numbering of rows: step `k` trains on rows from `(k - 1) * global_batch_size`,
/// of `seq_len` tokens each.
const ROW_KEYS: [&str; 2] = ["train.global_batch_size", "data.seq_len"];

/// Refuses differences from the configuration of a checkpoint that would skip or repeat rows.
///
/// # Errors
/// [`RunError::RowsRecounted`] with these differences.
pub(crate) fn refuse_recounted_rows(
    differences: &[ConfigDifference],
    checkpoint: &Path,
) -> Result<(), RunError> {
    let recounting = |difference: &&ConfigDifference| ROW_KEYS.contains(&difference.key.as_str());
    let differences: Vec<ConfigDifference> = differences.iter().filter(recounting).cloned().collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(RunError::RowsRecounted { checkpoint: checkpoint.to_owned(), differences })
}

/// Whether the run has checkpoints. A run without any may be started again with any configuration.
fn has_checkpoints(directory: &RunDirectory) -> Result<bool, RunError> {
    Ok(!CheckpointDirectory::new(directory.checkpoints()).steps()?.is_empty())
}

/// Names for `--allow-change` that stand for data and tokenizer, which are no configuration keys.
const DATA: &str = "data";
const TOKENIZER: &str = "tokenizer";

/// Refuses unknown keys of `--allow-change`.
///
/// # Errors
/// [`RunError::UnknownAllowance`] with the first of them.
fn refuse_unknown_allowances(
    config: &RunConfig,
    stored: &RunConfig,
    allowed: &[String],
) -> Result<(), RunError> {
    let keys: Vec<String> = [config, stored].into_iter().flat_map(RunConfig::keys).collect();
    let is_known = |key: &&String| {
        [DATA, TOKENIZER].contains(&key.as_str())
            || keys.iter().any(|known| is_allowed(known, std::slice::from_ref(*key)))
    };
    match allowed.iter().find(|key| !is_known(key)) {
        Some(key) => Err(RunError::UnknownAllowance { key: key.clone() }),
        None => Ok(()),
    }
}

/// Returns the differences in data and tokenizer from the last start as events.
///
/// # Errors
/// [`RunError::DataChanged`] with those that aren't `allowed`.
pub(crate) fn data_changes(
    stored: &RunIdentity,
    prepared: &Prepared,
    directory: &RunDirectory,
    allowed: &[String],
) -> Result<Vec<Event>, RunError> {
    let fingerprints = [
        (TOKENIZER, stored.tokenizer_fingerprint.as_str(), prepared.tokenizer.fingerprint()),
        (DATA, stored.data_fingerprint.as_str(), prepared.dataset.fingerprint()),
    ];
    let changed = || fingerprints.into_iter().filter(|(_, before, after)| before != after);
    let refused: Vec<&'static str> =
        changed().map(|(key, ..)| key).filter(|key| !allowed.iter().any(|allowed| allowed == key)).collect();
    if !refused.is_empty() {
        return Err(RunError::DataChanged { dir: directory.root().to_owned(), changed: refused });
    }
    let event = |(key, before, after): (&str, &str, &str)| Event::ConfigChanged {
        key: key.to_owned(),
        before: Value::from(before),
        after: Value::from(after),
    };
    Ok(changed().map(event).collect())
}
