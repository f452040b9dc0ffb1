//! Fault injection: distorted metrics for the guard.

use std::ops::RangeInclusive;

/// An injected fault: the guard gets distorted metrics of a step.
///
/// A fault is tied to rows, as bad data would be: to those that the given steps train on in a run without
/// skipped rows. After a rewind or with skipped rows, the step that trains on these rows is affected.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFault {
    /// The steps, counted from 1, that train on the rows in a run without skipped rows.
    pub steps: RangeInclusive<u64>,
    /// The change to the metrics of the step.
    pub distortion: MetricDistortion,
}

/// The change that a [`MetricFault`] makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricDistortion {
    /// Multiplies the loss.
    Loss(f32),
    /// Multiplies the gradient norm.
    GradNorm(f32),
}

/// Returns the loss and the gradient norm of a step, distorted by the faults of the step `planned`, whose
/// rows it trains on.
pub(crate) fn distort(faults: &[MetricFault], planned: u64, [mut loss, mut grad_norm]: [f32; 2]) -> [f32; 2] {
    for fault in faults.iter().filter(|fault| fault.steps.contains(&planned)) {
        match fault.distortion {
            MetricDistortion::Loss(factor) => loss *= factor,
            MetricDistortion::GradNorm(factor) => grad_norm *= factor,
        }
    }
    [loss, grad_norm]
}
