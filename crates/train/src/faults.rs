//! Faults injected into what the guard sees.

use std::ops::RangeInclusive;

/// A drill: the guard is shown other numbers than a step has come to.
///
/// It is tied to the rows, as bad data would be: to those that some steps of an undisturbed run train on. Whether the run goes back,
/// comes by later or leaves them out, it is their step that is hit.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFault {
    /// The steps (counted from 1) that would train on the rows, if no row were left out.
    pub steps: RangeInclusive<u64>,
    /// What is done to the step.
    pub distortion: MetricDistortion,
}

/// What a [`MetricFault`] does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricDistortion {
    /// Multiplies the loss.
    Loss(f32),
    /// Multiplies the gradient norm.
    GradNorm(f32),
}

/// Loss and gradient norm of a step on the rows of the step `planned`.
pub(crate) fn distort(faults: &[MetricFault], planned: u64, [mut loss, mut grad_norm]: [f32; 2]) -> [f32; 2] {
    for fault in faults.iter().filter(|fault| fault.steps.contains(&planned)) {
        match fault.distortion {
            MetricDistortion::Loss(factor) => loss *= factor,
            MetricDistortion::GradNorm(factor) => grad_norm *= factor,
        }
    }
    [loss, grad_norm]
}
