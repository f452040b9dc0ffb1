//! Correction for multiple comparisons.

/// Adjusts p-values so that rejecting those below q keeps the expected false discovery rate below q
/// (Benjamini and Hochberg 1995). Unknown p-values stay unknown and don't count as tests.
#[must_use]
pub fn benjamini_hochberg(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let known = |p: Option<f64>| p.filter(|p| (0.0..=1.0).contains(p));
    let mut tests: Vec<(usize, f64)> =
        p_values.iter().enumerate().filter_map(|(i, &p)| Some((i, known(p)?))).collect();
    tests.sort_by(|a, b| a.1.total_cmp(&b.1));
    let count = tests.len() as f64;
    let mut adjusted = vec![None; p_values.len()];
    let mut smallest = 1.0_f64;
    for (rank, &(index, p)) in tests.iter().enumerate().rev() {
        smallest = smallest.min(p * count / (rank + 1) as f64);
        adjusted[index] = Some(smallest);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_p_values_are_no_tests() {
        let with_gaps = [Some(0.04), None, Some(0.01), Some(f64::NAN), Some(1.5)];
        assert_eq!(benjamini_hochberg(&with_gaps), [Some(0.04), None, Some(0.02), None, None]);
        assert_eq!(benjamini_hochberg(&[]), []);
        assert_eq!(benjamini_hochberg(&[None]), [None]);
    }

    #[test]
    fn one_test_needs_no_adjustment() {
        assert_eq!(benjamini_hochberg(&[Some(0.03)]), [Some(0.03)]);
    }

    #[test]
    fn order_is_kept_and_ties_share_a_value() {
        assert_eq!(
            benjamini_hochberg(&[Some(0.5), Some(0.01), Some(0.01)]),
            [Some(0.5), Some(0.015), Some(0.015)]
        );
    }
}
