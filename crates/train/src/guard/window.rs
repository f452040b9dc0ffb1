//! Recent values of a number, and what is usual among them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The values of recent steps, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ValueWindow(VecDeque<f32>);

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WindowBaseline {
    pub(super) median: f64,
    /// Spread in units of a standard deviation, never 0.
    pub(super) scale: f64,
}

/// The median absolute deviation of a normal distribution, as a part of its standard deviation, is the inverse of this.
const MAD_TO_SIGMA: f64 = 1.4826;

/// The least scale, as a part of the median: a curve that has stood still must not make an alarm of its last digits.
const LEAST_SCALE: f64 = 1e-3;

impl ValueWindow {
    /// Adds a value, unless it isn't finite, and keeps the newest `length`.
    pub(super) fn push(&mut self, value: f32, length: usize) {
        if !value.is_finite() {
            return;
        }
        self.0.push_back(value);
        while self.0.len() > length {
            self.0.pop_front();
        }
    }

    /// Median and scale of the newest `length` values, once there are half as many and at least 20 (or all, of a shorter window).
    ///
    /// After OLMo-core's `SkipStepOptimizer` (`olmo_core/optim/skip_step_optimizer.py`), which skips a step whose loss or
    /// gradient norm is more than 6 standard deviations away from the mean of the last 128, once there are half of them. It
    /// departs from that in three things. Median and median absolute deviation stand for mean and standard deviation, so that
    /// the first spike doesn't hide the second. Only what lies above is an outlier: a loss that falls is none. And the scale
    /// has a floor.
    pub(super) fn baseline(&self, length: usize) -> Option<WindowBaseline> {
        let least = (length / 2).max(20).min(length);
        let skip = self.0.len().saturating_sub(length);
        let mut values: Vec<f64> = self.0.iter().skip(skip).map(|&value| f64::from(value)).collect();
        if values.len() < least {
            return None;
        }
        let median = median(&mut values);
        let mut deviations: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        let scale = MAD_TO_SIGMA * self::median(&mut deviations);
        let floor = (LEAST_SCALE * median.abs()).max(f64::MIN_POSITIVE);
        Some(WindowBaseline { median, scale: scale.max(floor) })
    }
}

/// The median of values, of which there is at least one; sorts them.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
mod tests {
    use super::*;

    fn window(values: impl IntoIterator<Item = f32>, length: usize) -> ValueWindow {
        let mut window = ValueWindow::default();
        values.into_iter().for_each(|value| window.push(value, length));
        window
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    /// `scipy.stats.median_abs_deviation(range(1, 26), scale="normal")` is 8.8956 at the 1.4826 of this code.
    #[test]
    fn the_scale_is_that_of_a_normal_distribution() {
        let baseline = window((1..=25).map(|value| value as f32), 25).baseline(25).unwrap();
        assert_eq!(baseline.median, 13.0);
        assert!((baseline.scale - 6.0 * MAD_TO_SIGMA).abs() < 1e-12);
    }

    #[test]
    fn the_window_forgets_and_does_not_mind_outliers() {
        let mut noisy = window((0..40).map(|step| 2.0 + 0.1 * (step % 5) as f32), 24);
        assert_eq!(noisy.0.len(), 24);
        let before = noisy.baseline(24).unwrap();
        (0..5).for_each(|_| noisy.push(1e6, 24));
        let after = noisy.baseline(24).unwrap();
        assert!(after.median <= before.median + 0.11 && after.scale <= 2.01 * before.scale, "{after:?}");
    }

    #[test]
    fn values_that_stand_still_have_a_scale() {
        assert_eq!(window([2.0; 30], 30).baseline(30).unwrap(), WindowBaseline { median: 2.0, scale: 2e-3 });
        assert!(window([0.0; 30], 30).baseline(30).unwrap().scale > 0.0);
    }

    #[test]
    fn a_short_window_is_enough_once_it_is_full() {
        assert!(window([1.0; 7], 8).baseline(8).is_none());
        assert!(window([1.0; 8], 8).baseline(8).is_some());
        assert!(window([1.0; 63], 128).baseline(128).is_none());
        assert!(window([1.0; 64], 128).baseline(128).is_some());
    }
}
