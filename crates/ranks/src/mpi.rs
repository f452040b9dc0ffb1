//! Ranks that are processes joined by MPI.

use mpi::Count;
use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::ranks::Ranks;

/// Processes started by `mpirun` or `srun`. Without either there is one.
///
/// Dropping it finalizes MPI, on all ranks together.
pub struct MpiRanks {
    world: SimpleCommunicator,
    _universe: Universe,
}

/// Reason why MPI could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// MPI was started before in this process.
    #[error("MPI has already been started in this process")]
    AlreadyStarted,
    /// The MPI library accepts calls from one fixed thread only.
    #[error(
        "this MPI library accepts calls from one thread only ({0}); fineline needs MPI_THREAD_SERIALIZED"
    )]
    ThreadSupport(String),
}

impl MpiRanks {
    /// Starts MPI. The ranks are those of `MPI_COMM_WORLD`.
    ///
    /// # Errors
    /// [`MpiError::AlreadyStarted`] on a second call in one process; [`MpiError::ThreadSupport`] if the
    /// library accepts calls from one thread only.
    pub fn start() -> Result<Self, MpiError> {
        let (universe, threading) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or(MpiError::AlreadyStarted)?;
        if threading < Threading::Serialized {
            return Err(MpiError::ThreadSupport(format!("{threading:?}")));
        }
        Ok(Self { world: universe.world(), _universe: universe })
    }

    /// Returns the name and version that the MPI library reports.
    #[must_use]
    pub fn library() -> String {
        mpi::environment::library_version().unwrap_or_default().trim().to_owned()
    }
}

/// Returns the lengths and the offsets of consecutive parts as MPI's counts.
///
/// # Panics
/// If there are more values in one call than MPI can count, 2^31. Buckets are far smaller.
fn mpi_counts(lens: &[usize]) -> (Vec<Count>, Vec<Count>) {
    let to_count = |len: usize| Count::try_from(len).expect("a bucket has fewer values than MPI can count");
    let ends = lens.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    let starts = ends.zip(lens).map(|(end, len)| to_count(end - len)).collect();
    (lens.iter().map(|&len| to_count(len)).collect(), starts)
}

impl Ranks for MpiRanks {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_to_all_f32(
        &self,
        sent: &[f32],
        sent_lens: &[usize],
        received: &mut [f32],
        received_lens: &[usize],
    ) {
        let (sent_counts, sent_starts) = mpi_counts(sent_lens);
        let (received_counts, received_starts) = mpi_counts(received_lens);
        let sent = Partition::new(sent, sent_counts, sent_starts);
        let mut received = PartitionMut::new(received, received_counts, received_starts);
        self.world.all_to_all_varcount_into(&sent, &mut received);
    }

    fn all_gather_f32(&self, own: &[f32], all: &mut [f32], lens: &[usize]) {
        let (counts, starts) = mpi_counts(lens);
        self.world.all_gather_varcount_into(own, &mut PartitionMut::new(all, counts, starts));
    }

    fn broadcast_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let root = self.world.process_at_rank(0);
        let mut len = bytes.len() as u64;
        root.broadcast_into(&mut len);
        bytes.resize(len as usize, 0);
        if len > 0 {
            root.broadcast_into(&mut bytes[..]);
        }
        bytes
    }

    fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lens = vec![0_u64; self.size()];
        self.world.all_gather_into(&(bytes.len() as u64), &mut lens[..]);
        let lens: Vec<usize> = lens.into_iter().map(|len| len as usize).collect();
        // The address of an empty buffer may be the one that means MPI_IN_PLACE. If all messages are empty,
        // nothing is sent.
        if lens.iter().all(|&len| len == 0) {
            return vec![Vec::new(); self.size()];
        }
        let filler = [0_u8; 1];
        let bytes = if bytes.is_empty() { &filler[..0] } else { bytes };
        let mut all = vec![0_u8; lens.iter().sum()];
        let (counts, starts) = mpi_counts(&lens);
        self.world.all_gather_varcount_into(bytes, &mut PartitionMut::new(&mut all[..], counts, starts));
        let mut rest = &all[..];
        lens.iter()
            .map(|&len| {
                let (part, tail) = rest.split_at(len);
                rest = tail;
                part.to_vec()
            })
            .collect()
    }

    fn barrier(&self) {
        self.world.barrier();
    }

    fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }
}
