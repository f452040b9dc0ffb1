use mpi::Count;
use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::Ranks;

/// Processes that `mpirun` or `srun` started. Without either there is one.
///
/// MPI is taken down when this is dropped, on all ranks together.
pub struct MpiRanks {
    world: SimpleCommunicator,
    _universe: Universe,
}

/// Why there are no ranks.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// A second start in one process.
    #[error("MPI was started already in this process")]
    Started,
    /// Calls may come from one thread only, and from which can't be chosen.
    #[error("this MPI library takes calls from one thread only ({0}); fineline needs MPI_THREAD_SERIALIZED")]
    Threads(String),
}

impl MpiRanks {
    /// Starts MPI. The ranks are those of `MPI_COMM_WORLD`.
    pub fn start() -> Result<Self, MpiError> {
        let (universe, threading) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or(MpiError::Started)?;
        if threading < Threading::Serialized {
            return Err(MpiError::Threads(format!("{threading:?}")));
        }
        Ok(Self { world: universe.world(), _universe: universe })
    }

    /// The MPI library, as it calls itself.
    #[must_use]
    pub fn library() -> String {
        mpi::environment::library_version().unwrap_or_default().trim().to_owned()
    }
}

/// Lengths of parts as MPI counts them, and where the parts begin.
///
/// # Panics
/// If there are more values than MPI can count: 2^31 in one call. Buckets are far smaller.
fn counts(lens: &[usize]) -> (Vec<Count>, Vec<Count>) {
    let count = |len: usize| Count::try_from(len).expect("a bucket has fewer values than MPI can count");
    let ends = lens.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    let starts = ends.zip(lens).map(|(end, len)| count(end - len)).collect();
    (lens.iter().map(|&len| count(len)).collect(), starts)
}

impl Ranks for MpiRanks {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&self, sent: &[f32], sent_lens: &[usize], received: &mut [f32], received_lens: &[usize]) {
        let (sent_counts, sent_starts) = counts(sent_lens);
        let (received_counts, received_starts) = counts(received_lens);
        let sent = Partition::new(sent, sent_counts, sent_starts);
        let mut received = PartitionMut::new(received, received_counts, received_starts);
        self.world.all_to_all_varcount_into(&sent, &mut received);
    }

    fn gather(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        let (counts, starts) = counts(lens);
        self.world.all_gather_varcount_into(own, &mut PartitionMut::new(all, counts, starts));
    }

    fn broadcast(&self, mut words: Vec<u8>) -> Vec<u8> {
        let root = self.world.process_at_rank(0);
        let mut len = words.len() as u64;
        root.broadcast_into(&mut len);
        words.resize(len as usize, 0);
        if len > 0 {
            root.broadcast_into(&mut words[..]);
        }
        words
    }

    fn collect(&self, words: &[u8]) -> Vec<Vec<u8>> {
        let mut lens = vec![0_u64; self.size()];
        self.world.all_gather_into(&(words.len() as u64), &mut lens[..]);
        let lens: Vec<usize> = lens.into_iter().map(|len| len as usize).collect();
        // The address of an empty buffer may be the one that means MPI_IN_PLACE: with nothing at all to say, nothing is sent.
        if lens.iter().all(|&len| len == 0) {
            return vec![Vec::new(); self.size()];
        }
        let filler = [0_u8; 1];
        let words = if words.is_empty() { &filler[..0] } else { words };
        let mut all = vec![0_u8; lens.iter().sum()];
        let (counts, starts) = counts(&lens);
        self.world.all_gather_varcount_into(words, &mut PartitionMut::new(&mut all[..], counts, starts));
        let mut rest = &all[..];
        lens.iter()
            .map(|&len| {
                let (part, behind) = rest.split_at(len);
                rest = behind;
                part.to_vec()
            })
            .collect()
    }

    fn wait_for_all(&self) {
        self.world.barrier();
    }

    fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }
}
