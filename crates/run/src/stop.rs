//! Requests to stop, before there is anything to stop at.

use fineline_train::StopSignal;

use crate::error::RunError;

/// Ends what is being prepared, if that was asked for.
pub(crate) fn check_stop(stop: &StopSignal) -> Result<(), RunError> {
    match stop.requested() {
        Some(signal) => Err(RunError::Stopped { signal }),
        None => Ok(()),
    }
}
