use std::fmt;
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use crate::Ranks;

/// One of several ranks that are threads of this process: training on many ranks, without anything to install.
///
/// A rank whose thread panics leaves the others waiting.
#[derive(Clone)]
pub struct ThreadRanks {
    rank: usize,
    board: Arc<Board>,
}

/// Where ranks leave what they send.
struct Board {
    barrier: Barrier,
    /// One place per rank.
    places: Vec<Mutex<Vec<u8>>>,
}

impl ThreadRanks {
    /// As many ranks, one for each thread to be.
    #[must_use]
    pub fn new(size: usize) -> Vec<Self> {
        let places = (0..size).map(|_| Mutex::default()).collect();
        let board = Arc::new(Board { barrier: Barrier::new(size), places });
        (0..size).map(|rank| Self { rank, board: Arc::clone(&board) }).collect()
    }

    /// Leaves `own` in this rank's place, has all places read, and returns when everybody has done so.
    fn meet<T>(&self, own: Vec<u8>, read: impl FnOnce(&[Mutex<Vec<u8>>]) -> T) -> T {
        *lock(&self.board.places[self.rank]) = own;
        self.board.barrier.wait();
        let found = read(&self.board.places);
        self.board.barrier.wait();
        found
    }
}

/// What is in a place is whole whenever a lock is let go.
fn lock(place: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ranks for ThreadRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.board.places.len()
    }

    fn exchange(&self, sent: &[f32], sent_lens: &[usize], received: &mut [f32], received_lens: &[usize]) {
        // What a rank sends is preceded by the places at which the parts of the others begin.
        let mut own = Vec::new();
        let mut start = 0;
        for len in sent_lens {
            own.extend((start as u64).to_le_bytes());
            start += len;
        }
        own.extend(bytemuck::cast_slice::<f32, u8>(sent));
        self.meet(own, |places| {
            let mut rest = received;
            for (place, &len) in places.iter().zip(received_lens) {
                let (part, behind) = rest.split_at_mut(len);
                rest = behind;
                let place = lock(place);
                let (starts, values) = place.split_at(8 * places.len());
                let mut start = [0; 8];
                start.copy_from_slice(&starts[8 * self.rank..8 * self.rank + 8]);
                let start = 4 * u64::from_le_bytes(start) as usize;
                bytemuck::cast_slice_mut(part).copy_from_slice(&values[start..start + 4 * len]);
            }
        });
    }

    fn gather(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        self.meet(bytemuck::cast_slice(own).to_vec(), |places| {
            let mut rest = all;
            for (place, &len) in places.iter().zip(lens) {
                let (part, behind) = rest.split_at_mut(len);
                rest = behind;
                bytemuck::cast_slice_mut(part).copy_from_slice(&lock(place));
            }
        });
    }

    fn broadcast(&self, words: Vec<u8>) -> Vec<u8> {
        self.meet(words, |places| lock(&places[0]).clone())
    }

    fn collect(&self, words: &[u8]) -> Vec<Vec<u8>> {
        self.meet(words.to_vec(), |places| places.iter().map(|place| lock(place).clone()).collect())
    }

    #[allow(clippy::exit, clippy::disallowed_methods, reason = "it is what the caller asks for")]
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

impl fmt::Debug for ThreadRanks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadRanks({} of {})", self.rank, self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of `size` ranks makes of `work`, in the order of ranks.
    fn all<T: Send>(size: usize, work: impl Fn(&ThreadRanks) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                ThreadRanks::new(size).into_iter().map(|ranks| scope.spawn(move || work(&ranks))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// Rank `i` sends `j + 1` values `10 i + j` to rank `j`.
    #[test]
    fn parts_of_any_length_reach_their_ranks() {
        for size in [1, 2, 3] {
            let found = all(size, |ranks| {
                let own = ranks.rank();
                let sent: Vec<f32> = (0..size).flat_map(|j| vec![(10 * own + j) as f32; j + 1]).collect();
                let sent_lens: Vec<usize> = (1..=size).collect();
                let mut received = vec![0.0; size * (own + 1)];
                ranks.exchange(&sent, &sent_lens, &mut received, &vec![own + 1; size]);
                received
            });
            for (own, received) in found.into_iter().enumerate() {
                let expected: Vec<f32> =
                    (0..size).flat_map(|i| vec![(10 * i + own) as f32; own + 1]).collect();
                assert_eq!(received, expected);
            }
        }
    }

    #[test]
    fn parts_are_put_together_in_order() {
        for whole in all(3, |ranks| {
            let own = vec![ranks.rank() as f32; ranks.rank()];
            let mut whole = vec![9.0; 3];
            ranks.gather(&own, &mut whole, &[0, 1, 2]);
            whole
        }) {
            assert_eq!(whole, [1.0, 2.0, 2.0]);
        }
    }

    #[test]
    fn words_of_one_and_of_all() {
        for (said, collected) in all(2, |ranks| {
            let own = format!("rank {}", ranks.rank()).into_bytes();
            (ranks.broadcast(own.clone()), ranks.collect(&own))
        }) {
            assert_eq!(said, b"rank 0");
            assert_eq!(collected, [b"rank 0", b"rank 1"]);
        }
    }
}
