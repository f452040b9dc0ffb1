use crate::distribution::{ALPHA, normal_quantile};

/// The smallest true change that a paired comparison of `items` items would find at the 5 % level with probability `power`:
/// `(z₁₋α/₂ + z_power) · sd / √n` with `sd` the standard deviation of the items' changes (Miller 2024, section 5).
///
/// `None` without items, for a negative or non-finite `sd`, or a `power` outside of 0..1.
#[must_use]
pub fn minimum_detectable_effect(sd: f64, items: usize, power: f64) -> Option<f64> {
    let sensible = items > 0 && sd.is_finite() && sd >= 0.0 && power > 0.0 && power < 1.0;
    sensible.then(|| {
        let standard_errors = normal_quantile(1.0 - ALPHA / 2.0) + normal_quantile(power);
        standard_errors * sd / (items as f64).sqrt()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_questions_have_no_answer() {
        assert_eq!(minimum_detectable_effect(1.0, 0, 0.8), None);
        assert_eq!(minimum_detectable_effect(f64::NAN, 10, 0.8), None);
        assert_eq!(minimum_detectable_effect(-1.0, 10, 0.8), None);
        assert_eq!(minimum_detectable_effect(1.0, 10, 1.0), None);
        assert_eq!(minimum_detectable_effect(0.0, 10, 0.8), Some(0.0));
    }

    #[test]
    fn four_times_the_items_see_half_the_effect() {
        let [few, many] = [100, 400].map(|items| minimum_detectable_effect(0.5, items, 0.8).unwrap());
        assert!((few - 2.0 * many).abs() < 1e-15);
    }
}
