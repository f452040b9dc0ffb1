//! Detectable effects of a comparison.

use crate::distribution::{ALPHA, normal_quantile};
use crate::estimate::Estimate;

/// Probability of detecting a change of the minimum detectable size.
const POWER: f64 = 0.8;

/// Smallest true change that a two-sided test at 5 % detects in four of five cases, given the standard error
/// of the estimated change: `(z_{1−α/2} + z_{power}) · stderr`, or 2.80 standard errors (Bloom 1995; Miller,
/// [arXiv 2411.00640](https://arxiv.org/abs/2411.00640), section 5). For a change between two measurements of
/// the same items, that is the standard error of a [`PairedDifference`](crate::PairedDifference), which is
/// clustered if its items are.
///
/// Assumes a normal test. With few items, or with an exact test, a somewhat larger change is needed. `None`
/// if the standard error is unknown or 0: items that all didn't change show no spread, which doesn't make the
/// next change certain.
#[must_use]
pub fn minimum_detectable_effect(stderr: Option<f64>) -> Option<f64> {
    let stderr = stderr.filter(|stderr| *stderr > 0.0)?;
    Some((normal_quantile(1.0 - ALPHA / 2.0) + normal_quantile(POWER)) * stderr)
}

/// Minimum detectable effect if only one of the two measurements is known. Assumes that the other has the
/// same error and other items. If the items are the same, their errors are correlated, and a smaller change
/// is detectable.
#[must_use]
pub fn minimum_detectable_effect_unpaired(measurement: &Estimate) -> Option<f64> {
    minimum_detectable_effect(measurement.stderr.map(|stderr| stderr * std::f64::consts::SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_no_spread_has_no_detectable_effect() {
        assert_eq!(minimum_detectable_effect(None), None);
        assert_eq!(minimum_detectable_effect(Some(0.0)), None);
        assert_eq!(minimum_detectable_effect(Some(f64::NAN)), None);
        assert_eq!(minimum_detectable_effect_unpaired(&Estimate::UNKNOWN), None);
    }

    #[test]
    fn other_items_take_a_larger_change() {
        let measurement = Estimate { value: Some(0.5), stderr: Some(0.03), ..Estimate::UNKNOWN };
        let ratio = minimum_detectable_effect_unpaired(&measurement).unwrap()
            / minimum_detectable_effect(measurement.stderr).unwrap();
        assert!((ratio - 2.0_f64.sqrt()).abs() < 1e-12);
    }
}
