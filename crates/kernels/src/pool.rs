//! The pool of threads that operations share their work among.

/// Runs `work`, which calls many operations, on a thread of the pool that they share their work among: each then begins at once,
/// and not by handing over to a thread that must first be woken.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
