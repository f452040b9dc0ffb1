//! The delete-one jackknife.

use crate::estimate::Estimate;

/// `value` with the standard error of the delete-one jackknife, from the values without each cluster in turn
/// (Efron and Stein 1981, `√((G−1)/G Σ (θ₋g − θ̄)²)` for `G` clusters), and Student's t interval with `G − 1`
/// degrees of freedom.
///
/// For statistics that aren't sums over items. Unknown if `value` isn't finite. Without an error if there are
/// fewer than two values in `without_each`, or if one of them isn't finite.
#[must_use]
pub fn jackknife(value: f64, without_each: &[f64]) -> Estimate {
    if !value.is_finite() {
        return Estimate::UNKNOWN;
    }
    let clusters = without_each.len() as f64;
    let mean = without_each.iter().sum::<f64>() / clusters;
    let squares: f64 = without_each.iter().map(|value| (value - mean).powi(2)).sum();
    let variance = squares * (clusters - 1.0) / clusters;
    let variance = (without_each.len() > 1 && variance.is_finite()).then_some(variance);
    Estimate::with_t_interval(value, variance, without_each.len().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::Clusters;
    use crate::estimate::mean;

    /// The jackknife's error of a mean is the ordinary one.
    #[test]
    fn of_a_mean_it_is_the_mean_s_error() {
        let scores = [0.3, -1.0, 2.5, 0.7, 0.0];
        let total: f64 = scores.iter().sum();
        let without: Vec<f64> = scores.iter().map(|score| (total - score) / 4.0).collect();
        let (ours, plain) = (jackknife(total / 5.0, &without), mean(&scores, &Clusters::singletons(5)));
        for (ours, plain) in
            [(ours.value, plain.value), (ours.stderr, plain.stderr), (ours.lo, plain.lo), (ours.hi, plain.hi)]
        {
            assert!((ours.unwrap() - plain.unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn what_cannot_be_known_is_absent() {
        assert_eq!(jackknife(f64::NAN, &[1.0, 2.0]), Estimate::UNKNOWN);
        for without in [&[][..], &[1.0], &[1.0, f64::NAN]] {
            let estimate = jackknife(1.0, without);
            assert_eq!((estimate.value, estimate.stderr, estimate.lo), (Some(1.0), None, None));
        }
        assert_eq!(jackknife(1.0, &[1.0; 3]).stderr, Some(0.0));
    }
}
