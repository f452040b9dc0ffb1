//! Changes between two measurements of the same items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::Clusters;
use crate::distribution::{sign_test, t_two_sided};
use crate::estimate::{Estimate, mean, ratio};

/// A change between two measurements of the same items, second minus first. Unknown values are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairedDifference {
    /// Mean change per item.
    pub value: Option<f64>,
    /// Standard error of the mean of the items' changes.
    pub stderr: Option<f64>,
    /// Two-sided p-value of "no change".
    pub p: Option<f64>,
}

impl PairedDifference {
    /// Nothing is known, because there are no items or a score isn't finite.
    pub const UNKNOWN: Self = Self { value: None, stderr: None, p: None };

    /// A mean change, tested by the t-test with `degrees_of_freedom` degrees of freedom.
    pub(crate) fn t_test(change: Estimate, degrees_of_freedom: f64) -> Self {
        let p = change.value.zip(change.stderr).and_then(|(value, stderr)| {
            if stderr > 0.0 {
                Some(t_two_sided(value / stderr, degrees_of_freedom))
            } else {
                (value == 0.0).then_some(1.0)
            }
        });
        Self { value: change.value, stderr: change.stderr, p }
    }
}

/// Change of real-valued scores, with the paired t-test, from `(first, second)` pairs, one per item of
/// `clusters`.
///
/// If no item changed, p is 1. If all items changed by the same amount, the t statistic is undefined and p is
/// `None`.
#[must_use]
pub fn paired_mean(pairs: &[(f64, f64)], clusters: &Clusters) -> PairedDifference {
    let changes: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    PairedDifference::t_test(mean(&changes, clusters), clusters.degrees_of_freedom() as f64)
}

/// Change of a ratio of sums (see [`ratio`]), tested as in [`paired_mean`], from `(first numerator, second
/// numerator, denominator)` of each document. The denominator is the same in both measurements.
#[must_use]
pub fn paired_ratio(documents: &[(f64, f64, f64)], clusters: &Clusters) -> PairedDifference {
    let changes: Vec<(f64, f64)> =
        documents.iter().map(|(first, second, size)| (second - first, *size)).collect();
    PairedDifference::t_test(ratio(&changes, clusters), clusters.degrees_of_freedom() as f64)
}

/// Change of a proportion, with `McNemar`'s exact test, from `(first, second)` outcomes, one per item of
/// `clusters`: of the items whose outcome changed, as many should have changed to yes as to no (`McNemar`
/// 1947; the sign test on the discordant pairs).
///
/// Clustered items don't change independently. Their p-value is that of [`paired_mean`], but at least that of
/// `McNemar`'s test, since the t-test is overconfident if few items changed.
#[must_use]
pub fn paired_binary(pairs: &[(bool, bool)], clusters: &Clusters) -> PairedDifference {
    let changes: Vec<f64> =
        pairs.iter().map(|&(first, second)| f64::from(i8::from(second) - i8::from(first))).collect();
    let change = PairedDifference::t_test(mean(&changes, clusters), clusters.degrees_of_freedom() as f64);
    let exact = mcnemar(pairs);
    let p =
        if clusters.are_singletons() { exact } else { change.p.zip(exact).map(|(t, exact)| t.max(exact)) };
    PairedDifference { p, ..change }
}

fn mcnemar(pairs: &[(bool, bool)]) -> Option<f64> {
    let gained = pairs.iter().filter(|pair| matches!(pair, (false, true))).count() as u64;
    let lost = pairs.iter().filter(|pair| matches!(pair, (true, false))).count() as u64;
    (!pairs.is_empty()).then(|| sign_test(gained, gained + lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired_mean(pairs: &[(f64, f64)]) -> PairedDifference {
        super::paired_mean(pairs, &Clusters::singletons(pairs.len()))
    }

    fn paired_ratio(documents: &[(f64, f64, f64)]) -> PairedDifference {
        super::paired_ratio(documents, &Clusters::singletons(documents.len()))
    }

    fn paired_binary(pairs: &[(bool, bool)]) -> PairedDifference {
        super::paired_binary(pairs, &Clusters::singletons(pairs.len()))
    }

    #[test]
    fn nothing_is_known_of_no_items_or_of_nan() {
        assert_eq!(paired_mean(&[]), PairedDifference::UNKNOWN);
        assert_eq!(paired_mean(&[(0.0, f64::NAN), (1.0, 2.0)]), PairedDifference::UNKNOWN);
        assert_eq!(paired_binary(&[]), PairedDifference::UNKNOWN);
    }

    #[test]
    fn one_item_has_a_change_and_no_error() {
        assert_eq!(paired_mean(&[(1.0, 3.0)]), PairedDifference { value: Some(2.0), stderr: None, p: None });
        let one = paired_binary(&[(false, true)]);
        assert_eq!((one.value, one.stderr), (Some(1.0), None));
        assert!(one.p.is_some_and(|p| p > 1.0 - 1e-12), "either outcome is as likely: {one:?}");
    }

    #[test]
    fn no_change_is_no_evidence() {
        let same = PairedDifference { value: Some(0.0), stderr: Some(0.0), p: Some(1.0) };
        assert_eq!(paired_mean(&[(1.5, 1.5); 4]), same);
        assert_eq!(paired_binary(&[(true, true), (false, false)]), same);
    }

    #[test]
    fn an_equal_change_everywhere_has_no_t_statistic() {
        assert_eq!(
            paired_mean(&[(1.0, 2.0); 4]),
            PairedDifference { value: Some(1.0), stderr: Some(0.0), p: None }
        );
    }

    #[test]
    fn with_equal_sizes_a_ratio_changes_as_a_mean_does() {
        let of_mean = paired_mean(&[(1.0, 1.5), (2.0, 2.25), (3.0, 4.0)]);
        let of_ratio = paired_ratio(&[(1.0, 1.5, 1.0), (2.0, 2.25, 1.0), (3.0, 4.0, 1.0)]);
        assert!((of_mean.p.unwrap() - of_ratio.p.unwrap()).abs() < 1e-12);
        assert_eq!(of_mean.value, of_ratio.value);
        assert_eq!(paired_ratio(&[(1.0, 2.0, 0.0)]), PairedDifference::UNKNOWN);
    }

    /// Six items changed to yes and none to no: 2 · (1/2)⁶.
    #[test]
    fn discordant_pairs_alone_decide() {
        let mut pairs = vec![(false, true); 6];
        let p = paired_binary(&pairs).p.unwrap();
        assert!((p - 0.031_25).abs() < 1e-15);
        pairs.extend([(true, true); 100]);
        assert_eq!(paired_binary(&pairs).p, Some(p));
    }

    #[test]
    fn labels_that_nobody_shares_change_nothing() {
        let own = Clusters::of([Some("c"), Some("a"), None]);
        let (means, ratios) = ([(1.0, 1.5), (2.0, 2.25), (3.0, 4.0)], [(1.0, 2.0, 3.0); 3]);
        let outcomes = [(false, true), (false, true), (true, true)];
        assert_eq!(super::paired_mean(&means, &own), paired_mean(&means));
        assert_eq!(super::paired_ratio(&ratios, &own), paired_ratio(&ratios));
        assert_eq!(super::paired_binary(&outcomes, &own), paired_binary(&outcomes));
    }

    /// Of ten facts with four questions each, two were learned and one was lost. The evidence is that of
    /// three answers.
    #[test]
    fn items_that_turn_together_are_one_change() {
        let of_fact = |fact: usize| match fact {
            0 | 1 => (false, true),
            2 => (true, false),
            _ => (true, true),
        };
        let pairs: Vec<(bool, bool)> = (0..40).map(|item| of_fact(item / 4)).collect();
        let by_fact = Clusters::of((0..40).map(|item| Some(item / 4)));
        let (clustered, plain) = (super::paired_binary(&pairs, &by_fact), paired_binary(&pairs));
        assert_eq!(clustered.value, plain.value);
        assert!(clustered.stderr > plain.stderr && clustered.p > Some(0.5), "{clustered:?} {plain:?}");
    }

    #[test]
    fn few_changed_items_are_no_surer_for_being_clustered() {
        let mut pairs = vec![(false, true); 3];
        pairs.extend([(true, true); 37]);
        let pairwise = Clusters::of((0..40).map(|item| Some(item % 20)));
        let clustered = super::paired_binary(&pairs, &pairwise);
        assert_eq!(clustered.p, paired_binary(&pairs).p);
    }

    #[test]
    fn a_single_cluster_shows_no_error() {
        let single = Clusters::of([Some(0), Some(0)]);
        let value_alone = |value| PairedDifference { value: Some(value), ..PairedDifference::UNKNOWN };
        assert_eq!(super::paired_mean(&[(0.0, 1.0), (0.0, 2.0)], &single), value_alone(1.5));
        assert_eq!(super::paired_binary(&[(false, true), (true, true)], &single), value_alone(0.5));
    }
}
