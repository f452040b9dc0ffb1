//! A window of recent values, and their median and spread.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Values of recent steps, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ValueWindow(VecDeque<f32>);

/// Median and spread of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WindowBaseline {
    pub(super) median: f64,
    /// Spread, in units of a standard deviation. Never 0.
    pub(super) scale: f64,
}

/// The standard deviation of a normal distribution, divided by its median absolute deviation.
const MAD_TO_SIGMA: f64 = 1.4826;

/// The smallest scale, as a fraction of the median, so that rounding noise on a constant curve raises no
/// alarm.
const MIN_RELATIVE_SCALE: f64 = 1e-3;

impl ValueWindow {
    /// Adds a value if it is finite, and keeps the newest `length` values.
    pub(super) fn push(&mut self, value: f32, length: usize) {
        if !value.is_finite() {
            return;
        }
        self.0.push_back(value);
        while self.0.len() > length {
            self.0.pop_front();
        }
    }

    /// Returns the median and the scale of the newest `length` values. `None` until there are half as many
    /// values and at least 20 (or `length`, if that is less).
    ///
    /// Based on OLMo-core's `SkipStepOptimizer` (`olmo_core/optim/skip_step_optimizer.py`), which skips a
    /// step whose loss or gradient norm is more than 6 standard deviations from the mean of the last 128
    /// steps, once it has half of them. It differs in three ways. The median and the median absolute
    /// deviation replace the mean and the standard deviation, so that the first spike doesn't hide the
    /// second. Only values above the median are outliers, so a falling loss is none. The scale has a floor.
    pub(super) fn baseline(&self, length: usize) -> Option<WindowBaseline> {
        let min_len = (length / 2).max(20).min(length);
        let skip = self.0.len().saturating_sub(length);
        let mut values: Vec<f64> = self.0.iter().skip(skip).map(|&value| f64::from(value)).collect();
        if values.len() < min_len {
            return None;
        }
        let center = median(&mut values);
        let mut deviations: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
        let scale = MAD_TO_SIGMA * median(&mut deviations);
        let floor = (MIN_RELATIVE_SCALE * center.abs()).max(f64::MIN_POSITIVE);
        Some(WindowBaseline { median: center, scale: scale.max(floor) })
    }
}

/// Returns the median of at least one value. Sorts them.
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

    /// `scipy.stats.median_abs_deviation(range(1, 26), scale="normal")` is 8.8956 with the factor 1.4826 used
    /// here.
    #[test]
    fn the_scale_is_that_of_a_normal_distribution() {
        let baseline = window((1..=25).map(|value| value as f32), 25).baseline(25).unwrap();
        assert_eq!(baseline.median, 13.0);
        assert!((baseline.scale - 6.0 * MAD_TO_SIGMA).abs() < 1e-12);
    }

    #[test]
    fn the_window_drops_old_values_and_resists_outliers() {
        let mut noisy = window((0..40).map(|step| 2.0 + 0.1 * (step % 5) as f32), 24);
        assert_eq!(noisy.0.len(), 24);
        let before = noisy.baseline(24).unwrap();
        (0..5).for_each(|_| noisy.push(1e6, 24));
        let after = noisy.baseline(24).unwrap();
        assert!(after.median <= before.median + 0.11 && after.scale <= 2.01 * before.scale, "{after:?}");
    }

    #[test]
    fn constant_values_have_a_scale() {
        assert_eq!(window([2.0; 30], 30).baseline(30).unwrap(), WindowBaseline { median: 2.0, scale: 2e-3 });
        assert!(window([0.0; 30], 30).baseline(30).unwrap().scale > 0.0);
    }

    #[test]
    fn a_short_window_suffices_once_it_is_full() {
        assert!(window([1.0; 7], 8).baseline(8).is_none());
        assert!(window([1.0; 8], 8).baseline(8).is_some());
        assert!(window([1.0; 63], 128).baseline(128).is_none());
        assert!(window([1.0; 64], 128).baseline(128).is_some());
    }
}
