//! The generator of Python's `random` module, for data that must be in the order of a reference that uses
//! Python.

use crate::mersenne::MersenneTwister;

/// `random.Random(seed)` of `CPython` 3.11 and later: MT19937 (Matsumoto and Nishimura, 1998), seeded by
/// `init_by_array`, with the drawing of integers and samples.
///
/// For new code, use a [`Stream`](crate::Stream). The values of this generator depend on earlier draws.
#[derive(Clone)]
pub struct PythonRandom(MersenneTwister);

impl PythonRandom {
    /// Creates the generator `random.Random(seed)`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let low = seed as u32;
        let high = (seed >> 32) as u32;
        let key = [low, high];
        Self(MersenneTwister::from_key(if high == 0 { &key[..1] } else { &key }))
    }

    /// `getrandbits(count)`.
    ///
    /// # Panics
    /// If `count` is above 64.
    pub fn bits(&mut self, count: u32) -> u64 {
        assert!(count <= 64, "{count} bits don't fit into a u64");
        match count {
            0 => 0,
            1..=32 => u64::from(self.0.word() >> (32 - count)),
            _ => u64::from(self.0.word()) | u64::from(self.0.word() >> (64 - count)) << 32,
        }
    }

    /// `randrange(end)`: a number from 0 up to but not including `end`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "`end` must be above 0");
        let count = usize::BITS - end.leading_zeros();
        loop {
            let number = self.bits(count) as usize;
            if number < end {
                return number;
            }
        }
    }

    /// Returns the indices of `sample(population, count)` in a population of `len`: distinct, in the order of
    /// the draws. `None` if the population is too small.
    pub fn sample(&mut self, len: usize, count: usize) -> Option<Vec<usize>> {
        if count > len {
            return None;
        }
        // Python switches from a list of remaining indices to a set of drawn ones at this size.
        let set_size = 21 + if count > 5 { power_of_four_from(3 * count) } else { 0 };
        let mut drawn = Vec::with_capacity(count);
        if len <= set_size {
            let mut left: Vec<usize> = (0..len).collect();
            for i in 0..count {
                let last = len - i - 1;
                let place = self.below(last + 1);
                drawn.push(left[place]);
                left[place] = left[last];
            }
        } else {
            let mut seen = std::collections::HashSet::with_capacity(count);
            while drawn.len() < count {
                let index = self.below(len);
                if seen.insert(index) {
                    drawn.push(index);
                }
            }
        }
        Some(drawn)
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

impl std::fmt::Debug for PythonRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PythonRandom").finish_non_exhaustive()
    }
}

/// Returns the smallest power of four that is not below `number`: `4 ** ceil(log(number, 4))`.
fn power_of_four_from(number: usize) -> usize {
    let mut power = 1;
    while power < number {
        power *= 4;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Values of `CPython`, from `scripts/fixtures/python_random.py`.
    fn golden() -> Value {
        serde_json::from_str(include_str!("../tests/fixtures/python_random.json")).unwrap()
    }

    #[test]
    fn bits_are_those_of_cpython() {
        for case in golden()["bits"].as_array().unwrap() {
            let mut random = PythonRandom::new(case["seed"].as_u64().unwrap());
            for (count, expected) in
                case["counts"].as_array().unwrap().iter().zip(case["bits"].as_array().unwrap())
            {
                assert_eq!(random.bits(count.as_u64().unwrap() as u32), expected.as_u64().unwrap());
            }
        }
    }

    #[test]
    fn samples_are_those_of_cpython() {
        let golden = golden();
        let mut random = PythonRandom::new(golden["sample_seed"].as_u64().unwrap());
        for case in golden["samples"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let expected: Vec<usize> = serde_json::from_value(case["drawn"].clone()).unwrap();
            assert_eq!(random.sample(number("len"), number("count")), Some(expected), "{case}");
        }
    }

    #[test]
    fn shuffles_are_those_of_cpython() {
        let golden = golden();
        let mut random = PythonRandom::new(golden["sample_seed"].as_u64().unwrap());
        let expected: Vec<usize> = serde_json::from_value(golden["shuffled"].clone()).unwrap();
        let mut items: Vec<usize> = (0..expected.len()).collect();
        random.shuffle(&mut items);
        assert_eq!(items, expected);
    }

    #[test]
    fn too_few_to_draw_from_is_none() {
        let mut random = PythonRandom::new(0);
        assert_eq!(random.sample(2, 3), None);
        assert_eq!(random.sample(0, 0), Some(Vec::new()));
    }
}
