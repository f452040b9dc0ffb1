//! Estimates with standard errors and intervals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::Clusters;
use crate::distribution::{ALPHA, normal_quantile, t_critical};

/// A measured quantity with its standard error and 95 % interval. Unknown values are `None` (JSON `null`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Point estimate.
    pub value: Option<f64>,
    /// Standard error over the sampling of items, or of clusters of items.
    pub stderr: Option<f64>,
    /// Lower end of the 95 % interval.
    pub lo: Option<f64>,
    /// Upper end of the 95 % interval.
    pub hi: Option<f64>,
}

impl Estimate {
    /// Nothing is known, because there are no items or a score isn't finite.
    pub const UNKNOWN: Self = Self { value: None, stderr: None, lo: None, hi: None };

    /// `value` with Student's t interval at `degrees_of_freedom` degrees of freedom. No interval if
    /// `variance` is `None`.
    pub(crate) fn with_t_interval(value: f64, variance: Option<f64>, degrees_of_freedom: f64) -> Self {
        let stderr = variance.map(f64::sqrt);
        let margin = stderr.map(|stderr| stderr * t_critical(degrees_of_freedom));
        Self { value: Some(value), stderr, lo: margin.map(|m| value - m), hi: margin.map(|m| value + m) }
            .finite()
    }

    /// The estimate multiplied by `factor`. A negative factor swaps the ends of the interval.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let times = |x: Option<f64>| x.map(|x| x * factor);
        let (lo, hi) = if factor < 0.0 { (self.hi, self.lo) } else { (self.lo, self.hi) };
        let stderr = self.stderr.map(|stderr| stderr * factor.abs());
        Self { value: times(self.value), stderr, lo: times(lo), hi: times(hi) }.finite()
    }

    /// Exponential of the estimate, such as the perplexity `mean(nll).exp()`. The ends of the interval are
    /// transformed too, so it stays above 0. The standard error follows from the delta method.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = self.value.map(f64::exp);
        let stderr = self.stderr.zip(value).map(|(stderr, value)| stderr * value);
        Self { value, stderr, lo: self.lo.map(f64::exp), hi: self.hi.map(f64::exp) }.finite()
    }

    /// Replaces infinite and NaN values by `None`. Arithmetic on huge scores can overflow.
    fn finite(self) -> Self {
        let known = |x: Option<f64>| x.filter(|x| x.is_finite());
        if known(self.value).is_none() {
            return Self::UNKNOWN;
        }
        Self { value: self.value, stderr: known(self.stderr), lo: known(self.lo), hi: known(self.hi) }
    }
}

/// Returns whether the whole interval of an estimate is above `level`, or `None` if it has no interval.
#[must_use]
pub fn is_above(estimate: &Estimate, level: f64) -> Option<bool> {
    estimate.lo.map(|lo| lo > level)
}

/// Mean of real-valued scores, one per item of `clusters`, with a cluster-robust standard error (Miller 2024,
/// "Adding Error Bars to Evals", equation 4, with a small-sample factor) and Student's t interval. For
/// independent items the standard error is sd/√n (with n−1 in the sd, as in lm-evaluation-harness).
#[must_use]
pub fn mean(scores: &[f64], clusters: &Clusters) -> Estimate {
    let Some(mean) = finite_mean(scores) else { return Estimate::UNKNOWN };
    let variance = clusters.variance_of_sum(scores.iter().map(|x| x - mean));
    let n = scores.len() as f64;
    Estimate::with_t_interval(
        mean,
        variance.map(|variance| variance / n.powi(2)),
        clusters.degrees_of_freedom() as f64,
    )
}

/// Proportion of yes/no outcomes, one per item of `clusters`, with the standard error of [`mean`] and the
/// Wilson score interval, which stays inside 0..1 and doesn't shrink to a point at 0 or 1 (Wilson 1927;
/// Brown, Cai and `DasGupta` 2001, equation 4). Clustered items count as their effective number of
/// independent items.
#[must_use]
pub fn proportion(outcomes: &[bool], clusters: &Clusters) -> Estimate {
    if outcomes.is_empty() {
        return Estimate::UNKNOWN;
    }
    let n = outcomes.len() as f64;
    let p = outcomes.iter().filter(|&&yes| yes).count() as f64 / n;
    let residuals = outcomes.iter().map(|&yes| f64::from(u8::from(yes)) - p);
    let variance = clusters.variance_of_sum(residuals).map(|variance| variance / n.powi(2));
    let interval = effective_items(p, variance, clusters).map(|n| wilson(p, n));
    Estimate {
        value: Some(p),
        stderr: variance.map(f64::sqrt),
        lo: interval.map(|(lo, _)| lo),
        hi: interval.map(|(_, hi)| hi),
    }
}

/// Effective number of independent items for a proportion `p`. It is smaller than the number of items by the
/// design effect, which is the ratio of the clustered `variance` to that of independent items, and smaller
/// because the spread among few clusters is itself uncertain (Korn and Graubard 1998). It is never larger
/// than the number of items. `None` for several items in a single cluster.
fn effective_items(p: f64, variance: Option<f64>, clusters: &Clusters) -> Option<f64> {
    let n = clusters.items() as f64;
    if clusters.are_singletons() {
        return Some(n);
    }
    let design_effect = variance? * (n - 1.0) / (p * (1.0 - p));
    let certainty = (t_critical(n - 1.0) / t_critical(clusters.degrees_of_freedom() as f64)).powi(2);
    // If all outcomes are equal, the design effect is unknown: 0/0, and `min` ignores NaN.
    Some((certainty * n / design_effect).min(n))
}

/// Wilson score interval of a proportion `p` of `n` independent items.
fn wilson(p: f64, n: f64) -> (f64, f64) {
    let z = normal_quantile(1.0 - ALPHA / 2.0);
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let margin = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At 0 and 1, rounding must not move the end away from `p`.
    (if p <= 0.0 { 0.0 } else { centre - margin }, if p >= 1.0 { 1.0 } else { centre + margin })
}

/// Ratio of sums, Σ numerator / Σ denominator over documents, which are the items of `clusters`, such as nats
/// per byte. The standard error is linearized (Cochran, "Sampling Techniques", equation 6.13), and equals
/// that of [`mean`] if all denominators are 1.
#[must_use]
pub fn ratio(documents: &[(f64, f64)], clusters: &Clusters) -> Estimate {
    let numerator: f64 = documents.iter().map(|(x, _)| x).sum();
    let denominator: f64 = documents.iter().map(|(_, y)| y).sum();
    let ratio = numerator / denominator;
    if !ratio.is_finite() {
        return Estimate::UNKNOWN;
    }
    let variance = clusters.variance_of_sum(documents.iter().map(|(x, y)| x - ratio * y));
    let variance = variance.map(|variance| variance / denominator.powi(2));
    Estimate::with_t_interval(ratio, variance, clusters.degrees_of_freedom() as f64)
}

/// Mean, if there are scores and it is finite.
fn finite_mean(scores: &[f64]) -> Option<f64> {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    mean.is_finite().then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean(scores: &[f64]) -> Estimate {
        super::mean(scores, &Clusters::singletons(scores.len()))
    }

    fn proportion(outcomes: &[bool]) -> Estimate {
        super::proportion(outcomes, &Clusters::singletons(outcomes.len()))
    }

    fn ratio(documents: &[(f64, f64)]) -> Estimate {
        super::ratio(documents, &Clusters::singletons(documents.len()))
    }

    fn clusters(labels: &[usize]) -> Clusters {
        Clusters::of(labels.iter().copied().map(Some))
    }

    #[test]
    fn nothing_is_known_of_no_items_or_of_nan() {
        assert_eq!(mean(&[]), Estimate::UNKNOWN);
        assert_eq!(mean(&[1.0, f64::NAN]), Estimate::UNKNOWN);
        assert_eq!(mean(&[1.0, f64::NEG_INFINITY]), Estimate::UNKNOWN);
        assert_eq!(proportion(&[]), Estimate::UNKNOWN);
        assert_eq!(super::mean(&[f64::NAN, 0.0, 0.0], &clusters(&[0, 0, 1])), Estimate::UNKNOWN);
        assert_eq!(ratio(&[]), Estimate::UNKNOWN);
        assert_eq!(ratio(&[(1.0, 0.0)]), Estimate::UNKNOWN);
        assert_eq!(Estimate::UNKNOWN.exp().scaled(2.0), Estimate::UNKNOWN);
    }

    #[test]
    fn one_item_has_a_value_and_no_error() {
        assert_eq!(mean(&[3.0]), Estimate { value: Some(3.0), ..Estimate::UNKNOWN });
        let one = proportion(&[true]);
        assert_eq!((one.value, one.stderr, one.hi), (Some(1.0), None, Some(1.0)));
        assert!(one.lo.is_some_and(|lo| (0.2..0.21).contains(&lo)), "{one:?}");
    }

    #[test]
    fn a_single_cluster_has_a_value_and_no_error() {
        let single = clusters(&[7, 7, 7]);
        let value_alone = |value| Estimate { value: Some(value), ..Estimate::UNKNOWN };
        assert_eq!(super::mean(&[3.0, 5.0, 4.0], &single), value_alone(4.0));
        assert_eq!(super::proportion(&[true, true, true], &single), value_alone(1.0));
        assert_eq!(super::ratio(&[(1.0, 1.0), (3.0, 1.0), (0.0, 2.0)], &single), value_alone(1.0));
    }

    #[test]
    fn equal_scores_have_no_spread() {
        let without_spread = Estimate { value: Some(2.0), stderr: Some(0.0), lo: Some(2.0), hi: Some(2.0) };
        assert_eq!(mean(&[2.0; 4]), without_spread);
        assert_eq!(super::mean(&[2.0; 4], &clusters(&[0, 0, 1, 1])), without_spread);
        let none = proportion(&[false; 50]);
        assert_eq!((none.value, none.stderr, none.lo), (Some(0.0), Some(0.0), Some(0.0)));
        assert!(
            none.hi.is_some_and(|hi| hi > 0.05),
            "a run of failures is no proof of impossibility: {none:?}"
        );
    }

    #[test]
    fn equal_outcomes_say_nothing_of_clusters() {
        let labels: Vec<usize> = (0..50).map(|item| item / 5).collect();
        for outcome in [false, true] {
            assert_eq!(super::proportion(&[outcome; 50], &clusters(&labels)), proportion(&[outcome; 50]));
        }
    }

    /// Four of ten people are known, with five questions about each. The interval is that of about ten
    /// answers, not of fifty.
    #[test]
    fn repetitions_are_no_evidence() {
        let labels: Vec<usize> = (0..50).map(|item| item / 5).collect();
        let outcomes: Vec<bool> = labels.iter().map(|person| person % 5 < 2).collect();
        let asked_once: Vec<bool> = (0..10).map(|person| person % 5 < 2).collect();
        let (repeated, once) = (super::proportion(&outcomes, &clusters(&labels)), proportion(&asked_once));
        assert!((repeated.stderr.unwrap() - once.stderr.unwrap()).abs() < 1e-12);
        assert!(repeated.hi.unwrap() - repeated.lo.unwrap() > 0.9 * (once.hi.unwrap() - once.lo.unwrap()));
    }

    #[test]
    fn clusters_more_alike_than_by_chance_do_not_narrow_a_proportion() {
        let outcomes = [true, false, true, false, true, false];
        let balanced = super::proportion(&outcomes, &clusters(&[0, 0, 1, 1, 2, 2]));
        let plain = proportion(&outcomes);
        assert_eq!((balanced.stderr, balanced.lo, balanced.hi), (Some(0.0), plain.lo, plain.hi));
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

    /// Scores with the cluster of each.
    fn clustered<T: std::fmt::Debug>(
        score: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = (Vec<T>, Clusters)> {
        let scores = prop::collection::vec((score, 0_usize..12), 2..80);
        scores.prop_map(|scores| {
            let (scores, labels): (Vec<T>, Vec<usize>) = scores.into_iter().unzip();
            (scores, clusters(&labels))
        })
    }

    proptest! {
        #[test]
        fn intervals_contain_the_value((scores, clusters) in clustered(-1e3..1e3_f64)) {
            let clustered = super::mean(&scores, &clusters);
            for estimate in [mean(&scores), mean(&scores).exp(), mean(&scores).scaled(-0.5), clustered] {
                if let (Some(lo), Some(value), Some(hi)) = (estimate.lo, estimate.value, estimate.hi) {
                    prop_assert!(lo <= value && value <= hi, "{estimate:?}");
                }
            }
        }

        #[test]
        fn wilson_stays_inside_the_unit_interval((outcomes, clusters) in clustered(any::<bool>())) {
            for estimate in [proportion(&outcomes), super::proportion(&outcomes, &clusters)] {
                let (Some(lo), Some(hi)) = (estimate.lo, estimate.hi) else { continue };
                prop_assert!(0.0 <= lo && Some(lo) <= estimate.value, "{estimate:?}");
                prop_assert!(estimate.value <= Some(hi) && hi <= 1.0, "{estimate:?}");
            }
        }

        #[test]
        fn clusters_never_narrow_a_proportion((outcomes, clusters) in clustered(any::<bool>())) {
            let (plain, clustered) = (proportion(&outcomes), super::proportion(&outcomes, &clusters));
            if let (Some(lo), Some(hi)) = (clustered.lo, clustered.hi) {
                let (least, most) = (plain.lo.unwrap() + 1e-12, plain.hi.unwrap() - 1e-12);
                prop_assert!(lo <= least && most <= hi, "{clustered:?} within {plain:?}");
            }
        }

        #[test]
        fn labels_that_nobody_shares_change_nothing(scores in prop::collection::vec(-9.0..9.0_f64, 1..40)) {
            let own = Clusters::of((0..scores.len()).rev().map(Some));
            let outcomes: Vec<bool> = scores.iter().map(|&score| score > 0.0).collect();
            let documents: Vec<(f64, f64)> = scores.iter().map(|&score| (score, score.abs() + 1.0)).collect();
            prop_assert_eq!(super::mean(&scores, &own), mean(&scores));
            prop_assert_eq!(super::proportion(&outcomes, &own), proportion(&outcomes));
            prop_assert_eq!(super::ratio(&documents, &own), ratio(&documents));
        }

        #[test]
        fn with_unit_denominators_a_ratio_is_a_mean((scores, clusters) in clustered(-9.0..9.0_f64)) {
            let documents: Vec<(f64, f64)> = scores.iter().map(|&x| (x, 1.0)).collect();
            let (of_ones, mean) = (super::ratio(&documents, &clusters), super::mean(&scores, &clusters));
            let pairs = [(of_ones.value, mean.value), (of_ones.stderr, mean.stderr), (of_ones.lo, mean.lo)];
            for (a, b) in pairs {
                prop_assert_eq!(a.is_some(), b.is_some());
                prop_assert!(a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 1e-11), "{of_ones:?} {mean:?}");
            }
        }
    }
}
