//! Keyed random streams.

use std::convert::Infallible;

use rand::{RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Context string of the key derivation. Changing it changes every stream.
const CONTEXT: &str = "fineline 2026-11-22 random stream v1";

/// The random stream at `(seed, purpose, index)`: `ChaCha8` with a key derived by BLAKE3.
///
/// `purpose` names the use of the numbers (`"init/model.norm.weight"`). `index` selects one of 2^64
/// independent streams for it (a step, a document). Values of any [`rand`] distribution can be drawn.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Creates the stream at its start.
    #[must_use]
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut rng = ChaCha8Rng::from_seed(key(seed, purpose));
        rng.set_stream(index);
        Self(rng)
    }

    /// Returns the next standard normal variate.
    pub fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }
}

/// Returns a 256-bit key for `(seed, purpose)`. Distinct pairs have unrelated keys.
pub(crate) fn key(seed: u64, purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn first(seed: u64, purpose: &str, index: u64) -> u64 {
        Stream::new(seed, purpose, index).next_u64()
    }

    /// Recorded values. Existing runs depend on them.
    #[test]
    fn streams_are_stable() {
        let draws = [0, 1].map(|index| first(1234, "init/model.norm.weight", index));
        assert_eq!(draws, [6_461_347_755_332_466_626, 9_867_584_822_392_205_285]);
    }

    #[test]
    fn each_part_of_the_address_matters() {
        let draws = [first(1, "a", 0), first(2, "a", 0), first(1, "b", 0), first(1, "a", 1)];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn normal_has_unit_moments() {
        let mut stream = Stream::new(7, "moments", 0);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.015, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }
}
