//! Mixture of sources by weight.

/// Assignment of rows to sources by weight.
///
/// Row `i` belongs to the van der Corput point of `i`: its 64 bits reversed, read as a fraction. The sources
/// divide `[0, 1)` by weight, and a row comes from the source whose interval contains its point. Every
/// aligned block of `2^m` rows has one point in each of `2^m` equal cells. Therefore:
/// - In every such block (a global batch of `2^m` rows, for example), each source has its fraction of the
///   rows to within one row.
/// - Among the first `n` rows, it has its fraction to within the number of ones in the binary form of `n`.
/// - The number of rows of a source among the first `n` rows is computed in O(log n), without a table.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    /// Ends of the intervals of the sources in units of 2^-64, after a leading 0. The last is 2^64.
    bounds: Vec<u128>,
}

const ONE: u128 = 1 << 64;

impl Mixture {
    /// Creates a mixture of at least one source. The weights must be finite and positive.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let mut bounds = vec![0];
        for weight in weights {
            sum += weight;
            bounds.push((sum / total * ONE as f64) as u128);
        }
        // The sum of the fractions can differ from 1 by rounding.
        *bounds.last_mut().expect("it begins with 0") = ONE;
        Self { bounds }
    }

    /// Returns the source of a row, and the number of earlier rows that come from the same source.
    pub(crate) fn locate(&self, row: u64) -> (usize, u64) {
        let point = u128::from(row.reverse_bits());
        let source = self.bounds.partition_point(|&bound| bound <= point) - 1;
        (source, self.rows_of_source(source, row))
    }

    /// Returns the number of rows of a source among the first `rows` rows.
    pub(crate) fn rows_of_source(&self, source: usize, rows: u64) -> u64 {
        points_below(rows, self.bounds[source + 1]) - points_below(rows, self.bounds[source])
    }

    /// Returns the fraction of rows that come from a source.
    pub(crate) fn fraction(&self, source: usize) -> f64 {
        (self.bounds[source + 1] - self.bounds[source]) as f64 / ONE as f64
    }
}

/// Returns the number of the first `n` points below `bound`.
///
/// Each one in the binary form of `n` stands for a block of `2^bit` rows, whose points are evenly spaced from
/// the reversed bits above it.
fn points_below(n: u64, bound: u128) -> u64 {
    let ones = (0..u64::BITS).filter(|bit| n >> bit & 1 == 1);
    let count = ones.map(|bit| {
        let first_row = (n >> bit ^ 1) << bit;
        let first_point = u128::from(first_row.reverse_bits());
        let spacing = ONE >> bit;
        bound.saturating_sub(first_point).div_ceil(spacing) as u64
    });
    count.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![1e-6..1e-3_f64, 0.01..1.0_f64, Just(1.0)], 1..7)
    }

    proptest! {
        /// The rows of a source are numbered 0, 1, 2, ... without a gap, in any order of access.
        #[test]
        fn places_count_up(weights in weights(), rows in 1_u64..600) {
            let mixture = Mixture::new(&weights);
            let mut taken = vec![0; weights.len()];
            for row in 0..rows {
                let (source, place) = mixture.locate(row);
                prop_assert_eq!(place, taken[source]);
                taken[source] += 1;
            }
            for (source, &count) in taken.iter().enumerate() {
                prop_assert_eq!(mixture.rows_of_source(source, rows), count);
            }
        }

        #[test]
        fn every_aligned_block_has_the_fractions(weights in weights(), bits in 0_u32..40, block: u16) {
            let mixture = Mixture::new(&weights);
            let (start, len) = (u64::from(block) << bits, 1_u64 << bits);
            let total: f64 = weights.iter().sum();
            for (source, weight) in weights.iter().enumerate() {
                let [before, after] = [start, start + len].map(|rows| mixture.rows_of_source(source, rows));
                let rows = after - before;
                let exact = weight / total * len as f64;
                prop_assert!((rows as f64 - exact).abs() <= 1.0 + 1e-3, "{rows} rows, {exact} expected");
            }
        }

        #[test]
        fn shares_hold_anywhere(weights in weights(), rows in 0_u64..1 << 40) {
            let mixture = Mixture::new(&weights);
            let sources = 0..weights.len();
            let counts: Vec<u64> = sources.map(|source| mixture.rows_of_source(source, rows)).collect();
            prop_assert_eq!(counts.iter().sum::<u64>(), rows);
            for (source, &count) in counts.iter().enumerate() {
                let miss = (count as f64 - mixture.fraction(source) * rows as f64).abs();
                prop_assert!(miss <= f64::from(rows.count_ones()) + 1e-3, "off by {miss}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let mixture = Mixture::new(&[0.1, 0.2, 0.7]);
        assert_eq!((0..3).map(|source| mixture.rows_of_source(source, u64::MAX)).sum::<u64>(), u64::MAX);
        assert_eq!(Mixture::new(&[3.0]).locate(u64::MAX - 1), (0, u64::MAX - 1));
    }

    #[test]
    fn halves_alternate() {
        let mixture = Mixture::new(&[0.5, 0.25, 0.25]);
        let sources: Vec<usize> = (0..8).map(|row| mixture.locate(row).0).collect();
        assert_eq!(sources, [0, 1, 0, 2, 0, 1, 0, 2]);
    }
}
