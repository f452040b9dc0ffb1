use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distribution::{sign_test, t_two_sided};
use crate::estimate::{Estimate, mean, ratio};

/// A change between two measurements of the same items, second minus first. What cannot be known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Mean change per item.
    pub value: Option<f64>,
    /// Standard error of the mean change: sd/√n of the items' changes.
    pub stderr: Option<f64>,
    /// Two-sided p-value of "no change".
    pub p: Option<f64>,
}

impl Difference {
    /// Nothing is known: no items, or a score among them that is not a finite number.
    pub const UNKNOWN: Self = Self { value: None, stderr: None, p: None };

    /// A mean change of `items` items under the t-test.
    fn t_test(change: Estimate, items: usize) -> Self {
        let p = change.value.zip(change.stderr).and_then(|(value, stderr)| {
            if stderr > 0.0 {
                Some(t_two_sided(value / stderr, (items - 1) as f64))
            } else {
                (value == 0.0).then_some(1.0)
            }
        });
        Self { value: change.value, stderr: change.stderr, p }
    }
}

/// The change of real-valued scores from `(first, second)` pairs, with the paired t-test.
///
/// Where no item changed, p is 1; where all changed by one and the same amount the t statistic is undefined, and p unknown.
#[must_use]
pub fn paired_mean(pairs: &[(f64, f64)]) -> Difference {
    let changes: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    Difference::t_test(mean(&changes), changes.len())
}

/// The change of a ratio of sums (see [`ratio`]) from `(first numerator, second numerator, denominator)` of each document, the
/// denominator being the same in both measurements; tested as in [`paired_mean`].
#[must_use]
pub fn paired_ratio(documents: &[(f64, f64, f64)]) -> Difference {
    let changes: Vec<(f64, f64)> =
        documents.iter().map(|(first, second, size)| (second - first, *size)).collect();
    Difference::t_test(ratio(&changes), changes.len())
}

/// The change of a proportion from `(first, second)` outcomes, with `McNemar`'s exact test: of the items whose outcome changed,
/// as many should have turned to yes as to no (`McNemar` 1947; the sign test on the discordant pairs).
#[must_use]
pub fn paired_binary(pairs: &[(bool, bool)]) -> Difference {
    let changes: Vec<f64> =
        pairs.iter().map(|&(first, second)| f64::from(i8::from(second) - i8::from(first))).collect();
    let gained = pairs.iter().filter(|pair| matches!(pair, (false, true))).count() as u64;
    let lost = pairs.iter().filter(|pair| matches!(pair, (true, false))).count() as u64;
    let change = mean(&changes);
    let p = (!pairs.is_empty()).then(|| sign_test(gained, gained + lost));
    Difference { value: change.value, stderr: change.stderr, p }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_of_no_items_or_of_nan() {
        assert_eq!(paired_mean(&[]), Difference::UNKNOWN);
        assert_eq!(paired_mean(&[(0.0, f64::NAN), (1.0, 2.0)]), Difference::UNKNOWN);
        assert_eq!(paired_binary(&[]), Difference::UNKNOWN);
    }

    #[test]
    fn one_item_has_a_change_and_no_error() {
        assert_eq!(paired_mean(&[(1.0, 3.0)]), Difference { value: Some(2.0), stderr: None, p: None });
        let one = paired_binary(&[(false, true)]);
        assert_eq!((one.value, one.stderr), (Some(1.0), None));
        assert!(one.p.is_some_and(|p| p > 1.0 - 1e-12), "either outcome is as likely: {one:?}");
    }

    #[test]
    fn no_change_is_no_evidence() {
        let same = Difference { value: Some(0.0), stderr: Some(0.0), p: Some(1.0) };
        assert_eq!(paired_mean(&[(1.5, 1.5); 4]), same);
        assert_eq!(paired_binary(&[(true, true), (false, false)]), same);
    }

    #[test]
    fn an_equal_change_everywhere_has_no_t_statistic() {
        assert_eq!(
            paired_mean(&[(1.0, 2.0); 4]),
            Difference { value: Some(1.0), stderr: Some(0.0), p: None }
        );
    }

    #[test]
    fn with_equal_sizes_a_ratio_changes_as_a_mean_does() {
        let of_mean = paired_mean(&[(1.0, 1.5), (2.0, 2.25), (3.0, 4.0)]);
        let of_ratio = paired_ratio(&[(1.0, 1.5, 1.0), (2.0, 2.25, 1.0), (3.0, 4.0, 1.0)]);
        assert!((of_mean.p.unwrap() - of_ratio.p.unwrap()).abs() < 1e-12);
        assert_eq!(of_mean.value, of_ratio.value);
        assert_eq!(paired_ratio(&[(1.0, 2.0, 0.0)]), Difference::UNKNOWN);
    }

    /// Six items turned to yes and none to no: 2 · (1/2)⁶.
    #[test]
    fn discordant_pairs_alone_decide() {
        let mut pairs = vec![(false, true); 6];
        let p = paired_binary(&pairs).p.unwrap();
        assert!((p - 0.031_25).abs() < 1e-15);
        pairs.extend([(true, true); 100]);
        assert_eq!(paired_binary(&pairs).p, Some(p));
    }
}
