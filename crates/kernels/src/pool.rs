//! The thread pool that operations share.

/// Runs `work`, which calls many operations, on a thread of their pool. Each operation then starts directly,
/// instead of waking a pool thread first.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
