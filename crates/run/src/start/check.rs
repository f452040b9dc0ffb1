//! A configuration and what it reads, checked without a run.

use fineline_train::StopSignal;

use super::fetched_weights::FetchedWeights;
use super::released::check_init;

use crate::config::Resolved;
use crate::error::RunError;
use crate::prepare::prepare;
use crate::progress::RunProgress;

/// Checks everything that a run would need before its first step, without starting it.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    resolved: &Resolved,
    fetched: Option<&FetchedWeights>,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<(), RunError> {
    let prepared = prepare(resolved, &StopSignal::default(), progress)?;
    match &resolved.config.init {
        Some(init) => check_init(resolved, init, &prepared.dataset, fetched),
        None => Ok(()),
    }
}
