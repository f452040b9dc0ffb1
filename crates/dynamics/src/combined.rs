//! Several tasks as one number.

use crate::difference::PairedDifference;
use crate::estimate::Estimate;

/// One of several independent measurements in a weighted sum, such as a task of a group.
#[derive(Clone, Copy, Debug)]
pub struct WeightedEstimate {
    /// Factor of the value.
    pub weight: f64,
    /// The value.
    pub value: Option<f64>,
    /// Standard error of the value.
    pub stderr: Option<f64>,
    /// Degrees of freedom of the standard error.
    pub degrees_of_freedom: usize,
}

/// Mean over all items of several tasks, given each task's mean and number of items: `Σ n_i v_i / N`. The
/// standard error is that of lm-evaluation-harness's groups (`pooled_sample_stderr`, version 0.4.13), `√( Σ
/// (n_i−1) n_i se_i² / (N−k) / N )` for `k` tasks of `N = Σ n_i` items, with Student's t interval at `N − k`
/// degrees of freedom.
///
/// This is the error of sampling other items of the same tasks. A task of one item adds no error of its own.
/// If all tasks have one item, or if an error is unknown, the result has no error either.
#[must_use]
pub fn pooled_mean(tasks: &[(Estimate, usize)]) -> Estimate {
    let items: usize = tasks.iter().map(|(_, n)| n).sum();
    let value = tasks.iter().map(|(task, n)| Some(task.value? * *n as f64)).sum::<Option<f64>>();
    let Some(value) = value.filter(|_| items > 0).map(|sum| sum / items as f64) else {
        return Estimate::UNKNOWN;
    };
    let degrees_of_freedom = items - tasks.len().min(items);
    let spread = |(task, n): &(Estimate, usize)| match n {
        0 | 1 => Some(0.0),
        n => Some((n - 1) as f64 * *n as f64 * task.stderr?.powi(2)),
    };
    let variance = tasks.iter().map(spread).sum::<Option<f64>>().filter(|_| degrees_of_freedom > 0);
    let variance = variance.map(|spread| spread / degrees_of_freedom as f64 / items as f64);
    Estimate::with_t_interval(value, variance, degrees_of_freedom as f64)
}

/// Weighted sum of independent measurements, such as the mean of several tasks of equal weight. The standard
/// error is `√(Σ w_i² se_i²)`, and the interval is Student's t at Satterthwaite's degrees of freedom (1946).
#[must_use]
pub fn combined_estimate(parts: &[WeightedEstimate]) -> Estimate {
    let WeightedSum { value, variance, degrees_of_freedom } = sum(parts);
    value.map_or(Estimate::UNKNOWN, |value| Estimate::with_t_interval(value, variance, degrees_of_freedom))
}

/// Weighted sum of independent changes, with the t-test of "no change" at Satterthwaite's degrees of freedom.
/// With two measurements of weights 1 and −1, this is Welch's test of two means.
#[must_use]
pub fn combined_difference(parts: &[WeightedEstimate]) -> PairedDifference {
    let WeightedSum { value, variance, degrees_of_freedom } = sum(parts);
    PairedDifference::t_test(
        Estimate { value, stderr: variance.map(f64::sqrt), ..Estimate::UNKNOWN },
        degrees_of_freedom,
    )
}

struct WeightedSum {
    value: Option<f64>,
    variance: Option<f64>,
    degrees_of_freedom: f64,
}

fn sum(parts: &[WeightedEstimate]) -> WeightedSum {
    let weighted = |part: &WeightedEstimate| Some(part.weight * part.value?);
    let variance = |part: &WeightedEstimate| Some((part.weight * part.stderr?).powi(2));
    let value =
        parts.iter().map(weighted).sum::<Option<f64>>().filter(|sum| sum.is_finite() && !parts.is_empty());
    let variances: Option<Vec<f64>> = parts.iter().map(variance).collect();
    let total = variances.as_ref().map(|variances| variances.iter().sum::<f64>());
    let uncertainty: f64 = variances
        .iter()
        .flatten()
        .zip(parts)
        .filter(|(variance, _)| **variance > 0.0)
        .map(|(variance, part)| variance.powi(2) / part.degrees_of_freedom as f64)
        .sum();
    // If no measurement has any spread, the degrees of freedom don't matter.
    let degrees_of_freedom =
        total.filter(|total| *total > 0.0).map_or(1.0, |total| total.powi(2) / uncertainty);
    WeightedSum { value, variance: total, degrees_of_freedom }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, stderr: f64) -> Estimate {
        Estimate { value: Some(value), stderr: Some(stderr), ..Estimate::UNKNOWN }
    }

    fn part(weight: f64, value: f64, stderr: f64) -> WeightedEstimate {
        WeightedEstimate { weight, value: Some(value), stderr: Some(stderr), degrees_of_freedom: 9 }
    }

    #[test]
    fn the_larger_task_counts_for_more() {
        let pooled = pooled_mean(&[(estimate(0.2, 0.02), 300), (estimate(0.6, 0.05), 100)]);
        assert!((pooled.value.unwrap() - 0.3).abs() < 1e-12);
        assert!(pooled.lo < pooled.value && pooled.value < pooled.hi);
    }

    #[test]
    fn what_one_task_lacks_the_group_lacks() {
        let nothing = (Estimate::UNKNOWN, 5);
        assert_eq!(pooled_mean(&[(estimate(0.5, 0.1), 5), nothing]), Estimate::UNKNOWN);
        assert_eq!(pooled_mean(&[]), Estimate::UNKNOWN);
        let without_error = Estimate { value: Some(0.5), ..Estimate::UNKNOWN };
        let pooled = pooled_mean(&[(estimate(0.5, 0.1), 5), (without_error, 5)]);
        assert_eq!((pooled.value, pooled.stderr), (Some(0.5), None));
        assert_eq!(pooled_mean(&[(without_error, 1), (without_error, 1)]).stderr, None);
        assert_eq!(combined_estimate(&[]), Estimate::UNKNOWN);
        let unknown = WeightedEstimate { value: None, ..part(0.5, 0.0, 0.1) };
        assert_eq!(combined_difference(&[part(0.5, 0.1, 0.1), unknown]).value, None);
    }

    #[test]
    fn a_sum_of_one_is_that_one() {
        let alone = combined_estimate(&[part(1.0, 0.4, 0.05)]);
        assert_eq!(alone, Estimate::with_t_interval(0.4, Some(0.05 * 0.05), 9.0));
    }

    #[test]
    fn nothing_changed_anywhere() {
        let same = combined_difference(&[part(0.5, 0.0, 0.0), part(0.5, 0.0, 0.0)]);
        assert_eq!(same, PairedDifference { value: Some(0.0), stderr: Some(0.0), p: Some(1.0) });
    }
}
