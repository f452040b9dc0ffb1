use std::any::Any;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Where the ranks of one process meet, and leave what they send.
pub(crate) struct Board {
    /// How many ranks the process has.
    pub(crate) count: usize,
    /// Which process it is.
    pub(crate) process: usize,
    /// What every rank sends, also those of other processes.
    posts: Vec<RwLock<Post>>,
    /// What each rank of this process holds up to the others.
    shelf: Vec<Mutex<Option<Box<dyn Any + Send>>>>,
    gathering: Mutex<Gathering>,
    changed: Condvar,
}

/// What a rank sends in one meeting.
#[derive(Default)]
pub(crate) struct Post {
    pub(crate) values: Vec<f32>,
    /// How many of them are for each rank.
    pub(crate) lens: Vec<usize>,
    /// How many values it expects of each rank.
    pub(crate) expected: Vec<usize>,
    pub(crate) words: Vec<u8>,
}

impl Post {
    pub(crate) fn values(values: &[f32]) -> Self {
        Self { values: values.to_vec(), ..Self::default() }
    }

    pub(crate) fn words(words: Vec<u8>) -> Self {
        Self { words, ..Self::default() }
    }

    /// What is for this rank.
    pub(crate) fn part(&self, rank: usize) -> &[f32] {
        let start = self.lens[..rank].iter().sum();
        &self.values[start..start + self.lens[rank]]
    }
}

#[derive(Default)]
struct Gathering {
    here: usize,
    /// How often all have come.
    rounds: u64,
    /// Whether one has left for good.
    is_over: bool,
}

/// What a thread unwinds with when another rank of its process has left: not an error of its own.
pub(crate) struct AnotherLeft;

impl Board {
    pub(crate) fn new(count: usize, process: usize, processes: usize) -> Self {
        Self {
            count,
            process,
            posts: (0..count * processes).map(|_| RwLock::default()).collect(),
            shelf: (0..count).map(|_| Mutex::default()).collect(),
            gathering: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Ranks of all processes.
    pub(crate) fn size(&self) -> usize {
        self.posts.len()
    }

    /// The first rank of this process.
    pub(crate) fn first(&self) -> usize {
        self.count * self.process
    }

    pub(crate) fn post(&self, rank: usize, post: Post) {
        *self.posts[rank].write().unwrap_or_else(PoisonError::into_inner) = post;
    }

    pub(crate) fn read(&self, rank: usize) -> RwLockReadGuard<'_, Post> {
        self.posts[rank].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shelf(&self, place: usize) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        lock(&self.shelf[place])
    }

    /// Returns when all ranks of this process have come here. If one has left for good, the thread unwinds.
    pub(crate) fn meet(&self) {
        let mut gathering = lock(&self.gathering);
        let round = gathering.rounds;
        gathering.here += 1;
        if gathering.here == self.count {
            gathering.here = 0;
            gathering.rounds += 1;
            self.changed.notify_all();
        }
        while gathering.rounds == round && !gathering.is_over {
            gathering = self.changed.wait(gathering).unwrap_or_else(PoisonError::into_inner);
        }
        let is_over = gathering.rounds == round;
        drop(gathering);
        if is_over {
            std::panic::resume_unwind(Box::new(AnotherLeft));
        }
    }

    /// This rank comes to no more meetings: the others need not wait.
    pub(crate) fn leave(&self) {
        lock(&self.gathering).is_over = true;
        self.changed.notify_all();
    }
}

/// What is behind the locks is whole whenever they are let go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
