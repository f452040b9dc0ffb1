//! A request to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request from outside the trainer to end well: finish the step, write a checkpoint, return.
///
/// Cheap to clone; all clones are one signal. [`flag`](Self::flag) is what a signal handler writes to.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicUsize>);

impl StopSignal {
    /// Asks for the end, for the reason `signal`: the number of a Unix signal, so that the exit code can tell which.
    /// The last request before the trainer looks is the one it reports; 0 is no request.
    pub fn request(&self, signal: usize) {
        self.0.store(signal, Ordering::SeqCst);
    }

    /// The signal of the request, if there was one.
    #[must_use]
    pub fn requested(&self) -> Option<usize> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// The number behind this signal, for `signal_hook::flag::register_usize`.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }
}
