//! The interface to the ranks of a run.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{CodecError, decode, encode};
use crate::rank_threads::RankThreads;

/// The exit code of a job that is aborted because a message between ranks can't be encoded or decoded.
const CODEC_FAILED: i32 = 1;

/// The ranks of a run, from the point of view of one of them.
///
/// On `dyn Ranks` there are also typed collectives, `all_gather` and `broadcast`.
pub trait Ranks {
    /// Returns the index of this rank, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of ranks.
    fn size(&self) -> usize;

    /// Sends a part of `sent` to each rank, and receives from each rank the part for this one. MPI's
    /// `Alltoallv`.
    ///
    /// `sent` is the concatenation of one part per rank, of `sent_lens` values each; `received` likewise, of
    /// `received_lens` values each, in the order of the sending ranks.
    fn all_to_all_f32(
        &self,
        sent: &[f32],
        sent_lens: &[usize],
        received: &mut [f32],
        received_lens: &[usize],
    );

    /// Gathers the vectors of all ranks on every rank. MPI's `Allgatherv`.
    ///
    /// `own` is this rank's vector. `all` receives the vectors of all ranks in their order, of `lens` values
    /// each.
    fn all_gather_f32(&self, own: &[f32], all: &mut [f32], lens: &[usize]);

    /// Returns the bytes of rank 0 on every rank. The argument of other ranks is ignored.
    fn broadcast_bytes(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Returns the bytes of all ranks, in their order, on every rank.
    fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// Returns once all ranks have called it.
    fn barrier(&self) {
        self.all_gather_bytes(&[]);
    }

    /// Returns the ranks that are threads of this process, if it has several. Not collective.
    fn threads(&self) -> Option<&RankThreads> {
        None
    }

    /// Declares that this rank starts work of this name that may take long, so that waiting ranks don't time
    /// out. Not collective.
    fn set_status(&self, name: &'static str) {
        let _ = name;
    }

    /// Ends the whole job immediately with this exit code. Not collective.
    fn abort(&self, code: i32) -> !;

    /// Returns whether this is rank 0, which writes files and decides for all.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

impl dyn Ranks + '_ {
    /// Returns the values of all ranks, in their order, on every rank. Collective.
    ///
    /// A message that can't be decoded aborts the job, with an error that names the collective, the type and
    /// the rank.
    #[must_use]
    pub fn all_gather<T: Serialize + DeserializeOwned>(&self, value: &T) -> Vec<T> {
        const NAME: &str = "all_gather";
        let bytes = self.or_abort(encode(NAME, self.rank(), value));
        let messages = self.all_gather_bytes(&bytes);
        let values = messages.iter().enumerate().map(|(rank, bytes)| decode(NAME, rank, bytes));
        self.or_abort(values.collect())
    }

    /// Returns the value of rank 0 on every rank. Rank 0 gives `Some`; the argument of other ranks is
    /// ignored. Collective.
    ///
    /// A message that can't be decoded aborts the job, with an error that names the collective, the type and
    /// the rank.
    ///
    /// # Panics
    /// If rank 0 gives `None`.
    pub fn broadcast<T: Serialize + DeserializeOwned>(&self, value: Option<T>) -> T {
        const NAME: &str = "broadcast";
        if self.is_first() {
            let value = value.expect("rank 0 has a value to broadcast");
            let bytes = self.or_abort(encode(NAME, 0, &value));
            self.broadcast_bytes(bytes);
            value
        } else {
            let bytes = self.broadcast_bytes(Vec::new());
            self.or_abort(decode(NAME, 0, &bytes))
        }
    }

    fn or_abort<T>(&self, result: Result<T, CodecError>) -> T {
        result.unwrap_or_else(|error| {
            tracing::error!("rank {}: {error}", self.rank());
            self.abort(CODEC_FAILED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rank 1 of two, whose messages from rank 0 arrive as `bytes`.
    struct Garbled(Vec<u8>);

    impl Ranks for Garbled {
        fn rank(&self) -> usize {
            1
        }

        fn size(&self) -> usize {
            2
        }

        fn all_to_all_f32(&self, _: &[f32], _: &[usize], _: &mut [f32], _: &[usize]) {}

        fn all_gather_f32(&self, _: &[f32], _: &mut [f32], _: &[usize]) {}

        fn broadcast_bytes(&self, _: Vec<u8>) -> Vec<u8> {
            self.0.clone()
        }

        fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
            vec![self.0.clone(), bytes.to_vec()]
        }

        fn abort(&self, code: i32) -> ! {
            panic!("aborted with exit code {code}")
        }
    }

    #[test]
    fn messages_are_decoded_in_the_order_of_ranks() {
        let ranks: &dyn Ranks = &Garbled(postcard::to_stdvec(&Some(7_u64)).unwrap());
        assert_eq!(ranks.all_gather(&Some(9_u64)), [Some(7), Some(9)]);
        assert_eq!(ranks.broadcast::<Option<u64>>(None), Some(7));
    }

    #[test]
    #[should_panic(expected = "aborted with exit code 1")]
    fn an_undecodable_message_of_a_gather_aborts_the_job() {
        let ranks: &dyn Ranks = &Garbled(vec![1]);
        let _ = ranks.all_gather(&Some(9_u64));
    }

    #[test]
    #[should_panic(expected = "aborted with exit code 1")]
    fn an_undecodable_broadcast_aborts_the_job() {
        let ranks: &dyn Ranks = &Garbled(Vec::new());
        ranks.broadcast::<bool>(None);
    }
}
