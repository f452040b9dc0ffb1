//! Permutations of NumPy's legacy generator, for data that must be in the order of a reference that uses
//! NumPy.

use crate::mersenne::MersenneTwister;

/// `numpy.random.seed(seed); numpy.random.permutation(len)`: the numbers below `len` in the order of NumPy's
/// `RandomState`, whose stream NumPy has frozen (NEP 19).
///
/// For new code, use a [`Permutation`](crate::Permutation), which computes single values. This function
/// computes all of them.
#[must_use]
pub fn numpy_permutation(seed: u32, len: u32) -> Vec<u32> {
    let mut generator = MersenneTwister::from_seed(seed);
    let mut numbers: Vec<u32> = (0..len).collect();
    for last in (1..len).rev() {
        numbers.swap(last as usize, up_to(last, &mut generator) as usize);
    }
    numbers
}

/// `random_interval` of NumPy's `distributions.c`: a number from 0 to `last`. The necessary bits are drawn
/// again while their value is above `last`.
fn up_to(last: u32, generator: &mut MersenneTwister) -> u32 {
    let mask = u32::MAX >> last.leading_zeros();
    loop {
        let number = generator.word() & mask;
        if number <= last {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of NumPy, from `scripts/fixtures/numpy_permutation.py`.
    #[test]
    fn permutations_are_those_of_numpy() {
        #[derive(serde::Deserialize)]
        struct Case {
            seed: u32,
            len: u32,
            /// First values, and all values of a short permutation.
            first: Vec<u32>,
            /// Sum of index times value modulo 2^64, which any swap changes.
            weighted_sum: u64,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../tests/fixtures/numpy_permutation.json")).unwrap();
        assert!(cases.iter().any(|case| case.len == 1_706_976), "a chunk of Amber is among them");
        for case in cases {
            let permutation = numpy_permutation(case.seed, case.len);
            assert_eq!(permutation[..case.first.len()], case.first, "seed {}, {}", case.seed, case.len);
            let products = (0_u64..).zip(&permutation).map(|(place, &value)| place * u64::from(value));
            assert_eq!(products.fold(0, u64::wrapping_add), case.weighted_sum);
        }
    }

    #[test]
    fn nothing_and_one_have_one_order() {
        assert!(numpy_permutation(1, 0).is_empty());
        assert_eq!(numpy_permutation(1, 1), [0]);
    }
}
