//! What a comparison could have found.

use crate::distribution::{ALPHA, normal_quantile};
use crate::estimate::Estimate;

/// The probability with which a change of the minimum detectable size is found.
const POWER: f64 = 0.8;

/// The least true change that a two-sided test at 5 % finds in four of five cases, where the estimated change has this standard error:
/// `(z_{1−α/2} + z_{power}) · stderr`, 2.80 standard errors (Bloom 1995; Miller, [arXiv 2411.00640](https://arxiv.org/abs/2411.00640), section 5). For a change
/// measured on the same items twice that is the standard error of a [`PairedDifference`](crate::PairedDifference), which is clustered where its items are.
///
/// The test is taken to be normal: with few items, or with an exact test, somewhat more is needed. `None` where the standard error is unknown,
/// and where it is 0: items of which none changed show no spread, which doesn't make the next change certain.
#[must_use]
pub fn minimum_detectable_effect(stderr: Option<f64>) -> Option<f64> {
    let stderr = stderr.filter(|stderr| *stderr > 0.0)?;
    Some((normal_quantile(1.0 - ALPHA / 2.0) + normal_quantile(POWER)) * stderr)
}

/// The same for a change that nothing is known of but one of its two measurements: as if the other had the same error, and other items. Where the items
/// are the same, the errors have much in common, and less is needed.
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
