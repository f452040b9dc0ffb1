//! A run in one process.

use crate::ranks::Ranks;

/// The only rank of a run in one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleRank;

impl Ranks for SingleRank {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_to_all_f32(&self, sent: &[f32], _: &[usize], received: &mut [f32], _: &[usize]) {
        received.copy_from_slice(sent);
    }

    fn all_gather_f32(&self, own: &[f32], all: &mut [f32], _: &[usize]) {
        all.copy_from_slice(own);
    }

    fn broadcast_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn all_gather_bytes(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
    }

    #[allow(
        clippy::exit,
        clippy::disallowed_methods,
        reason = "ending the process is this method's contract"
    )]
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}
