//! The quantiles and tail probabilities that this crate needs, for arguments known to be in range.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal, StudentsT};

/// Probability outside of an interval: all intervals of this crate are 95 % intervals.
pub(crate) const ALPHA: f64 = 0.05;

/// Standard normal quantile at `p`.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Half-width of a 95 % interval under Student's t, in standard errors. `degrees_of_freedom` must be
/// positive.
pub(crate) fn t_critical(degrees_of_freedom: f64) -> f64 {
    student(degrees_of_freedom).inverse_cdf(1.0 - ALPHA / 2.0)
}

/// P(|T| ≥ |t|) under Student's t. `degrees_of_freedom` must be positive.
pub(crate) fn t_two_sided(t: f64, degrees_of_freedom: f64) -> f64 {
    (2.0 * student(degrees_of_freedom).sf(t.abs())).min(1.0)
}

/// Exact two-sided p-value of `successes` in `trials` fair coin flips.
pub(crate) fn sign_test(successes: u64, trials: u64) -> f64 {
    let coin = Binomial::new(0.5, trials).expect("0.5 is a probability");
    (2.0 * coin.cdf(successes.min(trials - successes))).min(1.0)
}

fn student(degrees_of_freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, degrees_of_freedom).expect("the degrees of degrees_of_freedom are positive")
}
