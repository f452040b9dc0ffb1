use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distribution::{ALPHA, normal_quantile, t_critical};

/// A measured quantity with its standard error and 95 % interval. A part that cannot be known is `None` (JSON `null`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The point estimate.
    pub value: Option<f64>,
    /// Standard error over the sampling of items.
    pub stderr: Option<f64>,
    /// Lower end of the 95 % interval.
    pub lo: Option<f64>,
    /// Upper end of the 95 % interval.
    pub hi: Option<f64>,
}

impl Estimate {
    /// Nothing is known: no items, or a score among them that is not a finite number.
    pub const UNKNOWN: Self = Self { value: None, stderr: None, lo: None, hi: None };

    /// `value` with Student's t interval at `freedom` degrees of freedom; no interval where `variance` is absent.
    fn with_t_interval(value: f64, variance: Option<f64>, freedom: usize) -> Self {
        let stderr = variance.map(f64::sqrt);
        let margin = stderr.map(|stderr| stderr * t_critical(freedom as f64));
        Self { value: Some(value), stderr, lo: margin.map(|m| value - m), hi: margin.map(|m| value + m) }
            .finite()
    }

    /// The estimate in another unit; a negative `factor` turns the interval around.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let times = |x: Option<f64>| x.map(|x| x * factor);
        let (lo, hi) = if factor < 0.0 { (self.hi, self.lo) } else { (self.lo, self.hi) };
        let stderr = self.stderr.map(|stderr| stderr * factor.abs());
        Self { value: times(self.value), stderr, lo: times(lo), hi: times(hi) }.finite()
    }

    /// e to the estimate: the interval is carried over end by end (so it stays on the log scale and above 0), the standard
    /// error by the delta method. `mean(nll).exp()` is a perplexity.
    #[must_use]
    pub fn exp(self) -> Self {
        let exp = |x: Option<f64>| x.map(f64::exp);
        let value = exp(self.value);
        let stderr = self.stderr.zip(value).map(|(stderr, value)| stderr * value);
        Self { value, stderr, lo: exp(self.lo), hi: exp(self.hi) }.finite()
    }

    /// Arithmetic on huge scores can leave the floats: what is then infinite or NaN is unknown.
    fn finite(self) -> Self {
        let known = |x: Option<f64>| x.filter(|x| x.is_finite());
        if known(self.value).is_none() {
            return Self::UNKNOWN;
        }
        Self { value: self.value, stderr: known(self.stderr), lo: known(self.lo), hi: known(self.hi) }
    }
}

/// Whether an estimate is above `level` with its interval clear of it; `None` if it has no interval.
#[must_use]
pub fn is_above(estimate: &Estimate, level: f64) -> Option<bool> {
    estimate.lo.map(|lo| lo > level)
}

/// The mean of real-valued scores: standard error sd/√n (n−1 in the sd, as in lm-evaluation-harness), Student's t interval.
#[must_use]
pub fn mean(scores: &[f64]) -> Estimate {
    let n = scores.len();
    let Some(mean) = finite_mean(scores) else { return Estimate::UNKNOWN };
    let squares: f64 = scores.iter().map(|x| (x - mean).powi(2)).sum();
    let variance = (n > 1).then(|| squares / (n - 1) as f64 / n as f64);
    Estimate::with_t_interval(mean, variance, n.saturating_sub(1))
}

/// A proportion of yes/no outcomes: standard error sd/√n as for [`mean`], and the Wilson score interval, which stays inside
/// 0..1 and does not shrink to a point at 0 or 1 (Wilson 1927; Brown, Cai and `DasGupta` 2001, equation 4).
#[must_use]
pub fn proportion(outcomes: &[bool]) -> Estimate {
    if outcomes.is_empty() {
        return Estimate::UNKNOWN;
    }
    let yes = outcomes.iter().filter(|&&yes| yes).count();
    let n = outcomes.len() as f64;
    let p = yes as f64 / n;
    let z = normal_quantile(1.0 - ALPHA / 2.0);
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let margin = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Estimate {
        value: Some(p),
        stderr: (n > 1.0).then(|| (p * (1.0 - p) / (n - 1.0)).sqrt()),
        lo: Some(if yes == 0 { 0.0 } else { centre - margin }),
        hi: Some(if yes == outcomes.len() { 1.0 } else { centre + margin }),
    }
}

/// The mean of `(cluster, score)` where items of one cluster (a passage, a subject) are not independent.
///
/// Liang and Zeger's cluster-robust standard error with the small-sample factor G/(G−1); with one item in each cluster it is
/// that of [`mean`] (Miller 2024, "Adding Error Bars to Evals", equation 4, without the factor). Student's t interval with G−1 degrees of freedom.
#[must_use]
pub fn clustered_mean<C: Ord>(scores: &[(C, f64)]) -> Estimate {
    let values: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
    let Some(mean) = finite_mean(&values) else { return Estimate::UNKNOWN };
    let mut residuals = BTreeMap::<&C, f64>::new();
    for (cluster, score) in scores {
        *residuals.entry(cluster).or_default() += score - mean;
    }
    let groups = residuals.len();
    let variance = (groups > 1).then(|| {
        let squares: f64 = residuals.values().map(|sum| sum * sum).sum();
        squares * groups as f64 / (groups - 1) as f64 / (values.len() as f64).powi(2)
    });
    Estimate::with_t_interval(mean, variance, groups.saturating_sub(1))
}

/// Σ numerator / Σ denominator over documents, such as nats per byte: the linearized standard error of a ratio of sums
/// (Cochran, "Sampling Techniques", equation 6.13), equal to that of [`mean`] where every denominator is 1.
#[must_use]
pub fn ratio(documents: &[(f64, f64)]) -> Estimate {
    let n = documents.len() as f64;
    let numerator: f64 = documents.iter().map(|(x, _)| x).sum();
    let denominator: f64 = documents.iter().map(|(_, y)| y).sum();
    let ratio = numerator / denominator;
    if !ratio.is_finite() {
        return Estimate::UNKNOWN;
    }
    let variance = (n > 1.0).then(|| {
        let squares: f64 = documents.iter().map(|(x, y)| (x - ratio * y).powi(2)).sum();
        squares * n / (n - 1.0) / denominator.powi(2)
    });
    Estimate::with_t_interval(ratio, variance, documents.len().saturating_sub(1))
}

/// The mean, if there is any score and all are finite.
fn finite_mean(scores: &[f64]) -> Option<f64> {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    mean.is_finite().then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_known_of_no_items_or_of_nan() {
        assert_eq!(mean(&[]), Estimate::UNKNOWN);
        assert_eq!(mean(&[1.0, f64::NAN]), Estimate::UNKNOWN);
        assert_eq!(mean(&[1.0, f64::NEG_INFINITY]), Estimate::UNKNOWN);
        assert_eq!(proportion(&[]), Estimate::UNKNOWN);
        assert_eq!(clustered_mean::<u32>(&[]), Estimate::UNKNOWN);
        assert_eq!(clustered_mean(&[(0, f64::NAN), (1, 0.0)]), Estimate::UNKNOWN);
        assert_eq!(ratio(&[]), Estimate::UNKNOWN);
        assert_eq!(ratio(&[(1.0, 0.0)]), Estimate::UNKNOWN);
        assert_eq!(Estimate::UNKNOWN.exp().scaled(2.0), Estimate::UNKNOWN);
    }

    #[test]
    fn one_item_has_a_value_and_no_error() {
        assert_eq!(mean(&[3.0]), Estimate { value: Some(3.0), ..Estimate::UNKNOWN });
        assert_eq!(
            clustered_mean(&[("a", 3.0), ("a", 5.0)]),
            Estimate { value: Some(4.0), ..Estimate::UNKNOWN }
        );
        let one = proportion(&[true]);
        assert_eq!((one.value, one.stderr, one.hi), (Some(1.0), None, Some(1.0)));
        assert!(one.lo.is_some_and(|lo| (0.2..0.21).contains(&lo)), "{one:?}");
    }

    #[test]
    fn equal_scores_have_no_spread() {
        assert_eq!(
            mean(&[2.0; 5]),
            Estimate { value: Some(2.0), stderr: Some(0.0), lo: Some(2.0), hi: Some(2.0) }
        );
        let none = proportion(&[false; 50]);
        assert_eq!((none.value, none.stderr, none.lo), (Some(0.0), Some(0.0), Some(0.0)));
        assert!(
            none.hi.is_some_and(|hi| hi > 0.05),
            "a run of failures is no proof of impossibility: {none:?}"
        );
    }

    #[test]
    fn overflow_is_unknown() {
        assert_eq!(mean(&[1e3, 1e3]).exp(), Estimate::UNKNOWN);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), Estimate::UNKNOWN);
        assert_eq!(mean(&[1e300, -1e300]).stderr, None);
    }

    #[test]
    fn above_means_clear_of_the_level() {
        let half = proportion(&[true, false, true, false, true, true, true, false]);
        assert_eq!(is_above(&half, 0.25), Some(true));
        assert_eq!(is_above(&half, 0.5), Some(false));
        assert_eq!(is_above(&mean(&[1.0]), 0.0), None);
    }

    #[test]
    fn a_negative_factor_turns_the_interval_around() {
        let flipped = mean(&[1.0, 2.0, 4.0]).scaled(-1.0);
        assert!(flipped.lo < flipped.value && flipped.value < flipped.hi && flipped.stderr > Some(0.0));
    }

    proptest! {
        #[test]
        fn intervals_contain_the_value(scores in prop::collection::vec(-1e3..1e3_f64, 2..40)) {
            for estimate in [mean(&scores), mean(&scores).exp(), mean(&scores).scaled(-0.5)] {
                if let (Some(lo), Some(value), Some(hi)) = (estimate.lo, estimate.value, estimate.hi) {
                    prop_assert!(lo <= value && value <= hi, "{estimate:?}");
                }
            }
        }

        #[test]
        fn wilson_stays_inside_the_unit_interval(outcomes in prop::collection::vec(any::<bool>(), 1..200)) {
            let estimate = proportion(&outcomes);
            prop_assert!(Some(0.0) <= estimate.lo && estimate.lo <= estimate.value);
            prop_assert!(estimate.value <= estimate.hi && estimate.hi <= Some(1.0));
        }

        #[test]
        fn singleton_clusters_and_unit_denominators_change_nothing(scores in prop::collection::vec(-9.0..9.0_f64, 2..40)) {
            let plain = mean(&scores);
            let clustered = clustered_mean(&scores.iter().copied().enumerate().collect::<Vec<_>>());
            let of_ones = ratio(&scores.iter().map(|&x| (x, 1.0)).collect::<Vec<_>>());
            for other in [clustered, of_ones] {
                let gap = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs();
                prop_assert!(gap(plain.value, other.value) < 1e-12 && gap(plain.stderr, other.stderr) < 1e-12);
                prop_assert!(gap(plain.lo, other.lo) < 1e-11);
            }
        }
    }
}
