//! Memory shared by the ranks of one process: a mailbox per rank, and a barrier that fails when a rank fails.

use std::any::Any;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Mailboxes of all ranks, and the barrier of the ranks of this process.
pub(crate) struct Mailboxes {
    /// Number of ranks of this process.
    pub(crate) count: usize,
    /// Index of this process.
    pub(crate) process: usize,
    /// The message that each rank sends in the current collective, including the ranks of other processes.
    messages: Vec<RwLock<RankMessage>>,
    /// The value that each rank of this process shares with the others, of any type.
    shared: Vec<Mutex<Option<Box<dyn Any + Send>>>>,
    barrier: Mutex<BarrierState>,
    changed: Condvar,
}

/// The data that a rank sends in one collective.
#[derive(Default)]
pub(crate) struct RankMessage {
    pub(crate) values: Vec<f32>,
    /// Number of values for each rank.
    pub(crate) lens: Vec<usize>,
    /// Number of values that this rank receives from each rank.
    pub(crate) received_lens: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl RankMessage {
    pub(crate) fn from_values(values: &[f32]) -> Self {
        Self { values: values.to_vec(), ..Self::default() }
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Returns the values for `rank`.
    pub(crate) fn values_for(&self, rank: usize) -> &[f32] {
        let start = self.lens[..rank].iter().sum();
        &self.values[start..start + self.lens[rank]]
    }
}

#[derive(Default)]
struct BarrierState {
    /// Number of ranks that have arrived.
    arrived: usize,
    /// Number of times that the barrier has opened.
    generation: u64,
    /// Whether a rank has failed, so that the barrier never opens again.
    failed: bool,
}

/// The panic payload of a thread that is unwound because another rank of its process failed. It is not an
/// error of its own.
pub(crate) struct PeerFailed;

impl Mailboxes {
    pub(crate) fn new(count: usize, process: usize, processes: usize) -> Self {
        Self {
            count,
            process,
            messages: (0..count * processes).map(|_| RwLock::default()).collect(),
            shared: (0..count).map(|_| Mutex::default()).collect(),
            barrier: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Returns the number of ranks of all processes.
    pub(crate) fn size(&self) -> usize {
        self.messages.len()
    }

    /// Returns the first rank of this process.
    pub(crate) fn first_rank(&self) -> usize {
        self.count * self.process
    }

    pub(crate) fn write(&self, rank: usize, message: RankMessage) {
        *self.messages[rank].write().unwrap_or_else(PoisonError::into_inner) = message;
    }

    pub(crate) fn read(&self, rank: usize) -> RwLockReadGuard<'_, RankMessage> {
        self.messages[rank].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the shared value of the rank with this index within the process.
    pub(crate) fn shared(&self, index: usize) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        lock(&self.shared[index])
    }

    /// Returns once all ranks of this process have called it. If one has failed, the thread unwinds with
    /// [`PeerFailed`].
    pub(crate) fn wait_at_barrier(&self) {
        let mut barrier = lock(&self.barrier);
        let generation = barrier.generation;
        barrier.arrived += 1;
        if barrier.arrived == self.count {
            barrier.arrived = 0;
            barrier.generation += 1;
            self.changed.notify_all();
        }
        while barrier.generation == generation && !barrier.failed {
            barrier = self.changed.wait(barrier).unwrap_or_else(PoisonError::into_inner);
        }
        let failed = barrier.generation == generation;
        drop(barrier);
        if failed {
            std::panic::resume_unwind(Box::new(PeerFailed));
        }
    }

    /// Marks a rank of this process as failed, which releases the others from the barrier.
    pub(crate) fn mark_failed(&self) {
        lock(&self.barrier).failed = true;
        self.changed.notify_all();
    }
}

/// Locks a mutex, poisoned or not: no code that can panic runs while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
