//! Keyed permutations.

use crate::stream::key;

/// A keyed pseudo-random permutation of `0..len`, computed one index at a time in O(1) memory.
///
/// It is a balanced Feistel network over the smallest even number of bits that can represent `len`, with
/// cycle walking for values out of range (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
/// The domain is less than four times `len`, so a lookup takes less than four steps on average.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

const ROUNDS: usize = 8;

impl Permutation {
    /// Creates the permutation of `0..len` at `(seed, purpose, index)`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str, index: u64, len: u64) -> Self {
        let material = blake3::keyed_hash(&key(seed, purpose), &index.to_le_bytes());
        let mut bytes = [0; ROUNDS * 8];
        blake3::Hasher::new_keyed(material.as_bytes()).finalize_xof().fill(&mut bytes);
        let mut keys = [0; ROUNDS];
        for (key, chunk) in keys.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *key = u64::from_le_bytes(*chunk);
        }
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { len, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the value at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, index: u64) -> u64 {
        assert!(index < self.len, "index {index} is outside a permutation of {}", self.len);
        let mut value = self.encrypt(index);
        while value >= self.len {
            value = self.encrypt(value);
        }
        value
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014): a bijection in which each input bit moves
/// every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_appears_once(seed: u64, index: u64, len in 0_u64..3000) {
            let permutation = Permutation::new(seed, "test", index, len);
            let mut seen: Vec<u64> = (0..len).map(|i| permutation.get(i)).collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..len));
        }
    }

    #[test]
    fn large_domains_stay_in_range() {
        let permutation = Permutation::new(3, "test", 0, u64::MAX);
        assert!((0..100).all(|i| permutation.get(i) < u64::MAX));
    }

    /// Each of the 24 orders of four values should occur about equally often.
    #[test]
    fn orders_are_uniform() {
        let mut counts = std::collections::BTreeMap::<Vec<u64>, u32>::new();
        let trials = 24_000;
        for index in 0..trials {
            let permutation = Permutation::new(11, "uniform", index, 4);
            *counts.entry((0..4).map(|i| permutation.get(i)).collect()).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi2: f64 = counts.values().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi2 < 49.7, "chi-squared {chi2} with 23 degrees of freedom has p < 0.001");
    }
}
