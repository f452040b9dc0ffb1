//! A request to stop training.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request to stop cleanly: finish the step, write a checkpoint, return.
///
/// Clones share one request. A signal handler writes to [`flag`](Self::flag).
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicUsize>);

impl StopSignal {
    /// Requests to stop, with the number of a Unix signal as the reason, which decides the exit code.
    ///
    /// Of several requests between two steps, the last is reported. 0 is no request.
    pub fn request(&self, signal: usize) {
        self.0.store(signal, Ordering::SeqCst);
    }

    /// Returns the signal of the request, if there is one.
    #[must_use]
    pub fn requested(&self) -> Option<usize> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Returns the shared number, for `signal_hook::flag::register_usize`.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }
}
