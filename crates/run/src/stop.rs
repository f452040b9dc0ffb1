//! Requests to stop before training.

use fineline_train::StopSignal;

use crate::error::RunError;

/// Returns [`RunError::Stopped`] if a stop was requested.
///
/// # Errors
/// [`RunError::Stopped`].
pub(crate) fn check_stop(stop: &StopSignal) -> Result<(), RunError> {
    match stop.requested() {
        Some(signal) => Err(RunError::Stopped { signal }),
        None => Ok(()),
    }
}
