//! Checks a configuration and its inputs without starting a run.

use fineline_train::StopSignal;

use super::fetched_weights::FetchedWeights;
use super::released::check_init;

use crate::config::Resolved;
use crate::error::RunError;
use crate::prepare::prepare;
use crate::progress::RunProgress;

/// Checks everything that a run needs before its first step.
///
/// # Errors
/// The first problem.
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
