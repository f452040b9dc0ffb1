//! Collectives among the ranks of one process.

use std::any::Any;
use std::sync::Arc;

use crate::activity::RankActivity;
use crate::mailboxes::Mailboxes;

/// The ranks of one process, from the point of view of one of them.
#[derive(Clone)]
pub struct RankThreads {
    index: usize,
    mailboxes: Arc<Mailboxes>,
    /// The activity that collectives are recorded in.
    activity: Option<Arc<RankActivity>>,
}

impl RankThreads {
    pub(crate) fn new(index: usize, mailboxes: &Arc<Mailboxes>) -> Self {
        Self { index, mailboxes: Arc::clone(mailboxes), activity: None }
    }

    /// Returns the index of this rank within its process, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the number of ranks of the process.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mailboxes.count
    }

    /// Returns the number of processes.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.mailboxes.size() / self.mailboxes.count
    }

    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// Returns the same ranks, with their collectives recorded in `activity`.
    pub(crate) fn monitored(&self, activity: &Arc<RankActivity>) -> Self {
        Self { activity: Some(Arc::clone(activity)), ..self.clone() }
    }

    /// Returns the values of all ranks of the process, in their order. Nothing is serialized. Collective
    /// within the process.
    ///
    /// # Panics
    /// If the ranks give values of different types.
    pub fn all_gather<T: Any + Clone + Send>(&self, own: T) -> Vec<T> {
        self.run_collective(|| self.exchange(own))
    }

    /// Runs `collective`, which waits for the other ranks of the process, and records it in the activity of
    /// this rank.
    pub fn run_collective<T>(&self, collective: impl FnOnce() -> T) -> T {
        match &self.activity {
            Some(activity) => activity.run_collective("a collective within the process", collective),
            None => collective(),
        }
    }

    fn exchange<T: Any + Clone + Send>(&self, own: T) -> Vec<T> {
        *self.mailboxes.shared(self.index) = Some(Box::new(own));
        self.mailboxes.wait_at_barrier();
        let all = (0..self.count()).map(|index| self.read_shared(index)).collect();
        self.mailboxes.wait_at_barrier();
        *self.mailboxes.shared(self.index) = None;
        all
    }

    fn read_shared<T: Any + Clone>(&self, index: usize) -> T {
        let shared = self.mailboxes.shared(index);
        let value = shared.as_deref().and_then(<dyn Any + Send>::downcast_ref::<T>);
        value.expect("all ranks of a process share values of one type").clone()
    }
}
