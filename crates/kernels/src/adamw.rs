//! Updates of parameters, and sums over gradients.

use burn::tensor::Tensor;

use crate::adamw_factors::{AdamW, AdamWFactors};
use crate::cpu;

/// Updates a parameter, and the running means of its gradient and of the squared gradient. All are `[n]`,
/// without autodiff. Returns the new parameter and `[exp_avg, exp_avg_sq]`.
///
/// Gradient clipping is part of the update (`gradient_scale`), so that each value is read and written once. A
/// tensor without other owners is updated in place.
///
/// # Panics
/// If lengths differ.
#[must_use]
pub fn adamw(
    parameter_n: Tensor<1>,
    gradient_n: Tensor<1>,
    state_n: [Tensor<1>; 2],
    update: &AdamW,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let len = parameter_n.dims();
    assert!(
        state_n.iter().chain([&gradient_n]).all(|tensor| tensor.dims() == len),
        "one value for each of {len:?}"
    );
    if cpu::supports(&parameter_n) {
        return cpu::adamw(parameter_n, gradient_n, state_n, &update.factors());
    }
    portable(parameter_n, gradient_n, state_n, &update.factors())
}

fn portable(
    parameter_n: Tensor<1>,
    gradient_n: Tensor<1>,
    [exp_avg_n, exp_avg_sq_n]: [Tensor<1>; 2],
    factors: &AdamWFactors,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let gradient_n = gradient_n.mul_scalar(factors.gradient);
    let exp_avg_n = exp_avg_n.mul_scalar(factors.keep[0]) + gradient_n.clone().mul_scalar(factors.join[0]);
    let exp_avg_sq_n =
        exp_avg_sq_n.mul_scalar(factors.keep[1]) + gradient_n.square().mul_scalar(factors.join[1]);
    let denominator_n =
        exp_avg_sq_n.clone().sqrt().div_scalar(factors.root_correction).add_scalar(factors.eps);
    let step_n = exp_avg_n.clone().div(denominator_n).mul_scalar(factors.step);
    (parameter_n.mul_scalar(factors.decay) - step_n, [exp_avg_n, exp_avg_sq_n])
}

/// Returns `sum + gradient`, `[n]` each, without autodiff. Works in place if `sum` has no other owner.
///
/// # Panics
/// If lengths differ.
#[must_use]
pub fn add_to(sum_n: Tensor<1>, gradient_n: Tensor<1>) -> Tensor<1> {
    assert_eq!(sum_n.dims(), gradient_n.dims(), "lengths of the summands");
    if cpu::supports(&sum_n) {
        return cpu::add_to(sum_n, gradient_n);
    }
    sum_n + gradient_n
}

/// Returns the sum of the squares of `[n]` values, `[1]`, without autodiff. The order of the additions
/// depends on `n` only.
#[must_use]
pub fn sum_of_squares(values_n: Tensor<1>) -> Tensor<1> {
    if cpu::supports(&values_n) {
        return cpu::sum_of_squares(values_n);
    }
    values_n.square().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, random};

    fn vector(len: usize, seed: u64) -> Tensor<1> {
        Tensor::<3>::from_data(random([1, 1, len], seed), &device()).reshape([len])
    }

    fn update() -> AdamW {
        AdamW {
            lr: 0.1,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.1,
            bias_corrections: [0.1, 0.05],
            gradient_scale: 0.25,
        }
    }

    #[test]
    fn both_bodies_agree() {
        for len in [1, 15, 16, 1000, 70_001] {
            let inputs = || {
                let state = [vector(len, 3), vector(len, 4).abs()];
                (vector(len, 1), vector(len, 2), state)
            };
            let ((p, g, m), (q, h, n)) = (inputs(), inputs());
            let (fast, fast_state) = adamw(p, g, m, &update());
            let (expected, expected_state) = portable(q, h, n, &update().factors());
            assert_close(&fast, &expected, 1e-6);
            for (fast, expected) in fast_state.iter().zip(&expected_state) {
                assert_close(fast, expected, 1e-6);
            }
        }
    }

    #[test]
    fn what_others_hold_is_left_alone() {
        let (parameter, state) = (vector(9, 1), [vector(9, 2), vector(9, 3).abs()]);
        let before = [&parameter, &state[0], &state[1]].map(Tensor::to_data);
        let gradient = vector(9, 4);
        let (updated, _) = adamw(parameter.clone(), gradient.clone(), state.clone(), &update());
        let _ = add_to(parameter.clone(), gradient);
        assert_ne!(updated.into_data(), before[0]);
        assert_eq!([&parameter, &state[0], &state[1]].map(Tensor::to_data), before);
    }

    #[test]
    fn squares_of_any_number_of_values_are_added_up() {
        for len in [1, 17, 65_536, 200_003] {
            let values = vector(len, 1);
            let exact: f64 = values.to_data().iter::<f64>().map(|x| x * x).sum();
            let sum = f64::from(sum_of_squares(values).into_scalar::<f32>());
            assert!((sum - exact).abs() < 1e-6 * exact, "{sum} instead of {exact}");
        }
    }

    #[test]
    fn the_sum_of_squares_has_the_same_bits_on_any_number_of_threads() {
        let values = vector(300_001, 1);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let values = values.clone();
            pool.install(move || sum_of_squares(values).into_scalar::<f32>().to_bits())
        };
        assert_eq!([on(2), on(3), on(7)], [on(1); 3]);
    }

    #[test]
    fn a_nan_reaches_the_sum_of_squares() {
        let values = Tensor::<1>::from_data([1.0, f32::NAN, 2.0], &device());
        assert!(sum_of_squares(values).into_scalar::<f32>().is_nan());
    }

    #[test]
    fn sums_are_added_to() {
        let sum = add_to(vector(40_000, 1), vector(40_000, 2));
        assert_close(&sum, &(vector(40_000, 1) + vector(40_000, 2)), 0.0);
    }
}
