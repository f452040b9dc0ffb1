//! What may differ between a run's starts.

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

/// Whether `key` is one of the `allowed` keys, or lies in a section that is.
fn is_allowed(key: &str, allowed: &[String]) -> bool {
    let Ok(key) = key.parse::<Key>() else { return false };
    allowed.iter().filter_map(|allowed| allowed.parse().ok()).any(|allowed| key.starts_with(&allowed))
}

/// What differs from the configuration that the run was last started with, as events; refused where it isn't `allowed`.
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

/// The keys by which the rows of a run are counted: step `k` trains on rows `(k - 1) * global_batch_size` and on, of `seq_len` tokens each.
const ROW_KEYS: [&str; 2] = ["train.global_batch_size", "data.seq_len"];

/// Refuses `differences` from what a checkpoint was made with by which rows would be left out or come twice.
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

/// Whether there is anything to lose: a run that never came to its first checkpoint may be started anew in any way.
fn has_checkpoints(directory: &RunDirectory) -> Result<bool, RunError> {
    Ok(!CheckpointDirectory::new(directory.checkpoints()).steps()?.is_empty())
}

/// Keys that stand for data and tokenizer, which no configuration key names.
const DATA: &str = "data";
const TOKENIZER: &str = "tokenizer";

/// Refuses leave for a key that no configuration has: a slip of the pen.
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

/// What data and tokenizer differ in from those of the run's last start, as events; refused unless that is `allowed`.
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
