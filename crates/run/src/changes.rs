//! What may differ between a run's starts.

use fineline_train::CheckpointFolder;

use crate::RunError;
use crate::config::{Difference, Key, RunConfig};
use crate::directory::{RunDirectory, RunIdentity};
use crate::events::Event;

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
    let Some(stored) = directory.stored_config()? else { return Ok(Vec::new()) };
    refuse_unknown_allowances(config, &stored, allowed)?;
    let differences = stored.differences(config);
    let refused: Vec<Difference> = differences
        .iter()
        .filter(|difference| {
            !RunConfig::is_harmless(&difference.key) && !is_allowed(&difference.key, allowed)
        })
        .cloned()
        .collect();
    if !refused.is_empty() && has_checkpoints(directory)? {
        return Err(RunError::ConfigChanged { dir: directory.root().to_owned(), differences: refused });
    }
    let event = |difference: Difference| Event::ConfigChanged {
        key: difference.key,
        before: difference.left.unwrap_or_default(),
        after: difference.right.unwrap_or_default(),
    };
    Ok(differences.into_iter().map(event).collect())
}

/// Whether there is anything to lose: a run that never came to its first checkpoint may be started anew in any way.
fn has_checkpoints(directory: &RunDirectory) -> Result<bool, RunError> {
    Ok(!CheckpointFolder::new(directory.checkpoints()).steps()?.is_empty())
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

/// Refuses to go on with other data or another tokenizer than those of the run's last start, unless that is `allowed`.
pub(crate) fn refuse_changed_data(
    identity: &RunIdentity,
    directory: &RunDirectory,
    allowed: &[String],
) -> Result<(), RunError> {
    let Some(stored) = directory.stored_identity()? else { return Ok(()) };
    let changed: Vec<&'static str> = [
        (TOKENIZER, stored.tokenizer_fingerprint != identity.tokenizer_fingerprint),
        (DATA, stored.data_fingerprint != identity.data_fingerprint),
    ]
    .into_iter()
    .filter_map(|(what, differs)| (differs && !allowed.iter().any(|key| key == what)).then_some(what))
    .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(RunError::DataChanged { dir: directory.root().to_owned(), changed })
}
