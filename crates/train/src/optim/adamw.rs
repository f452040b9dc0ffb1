//! `AdamW` with decoupled weight decay, and clipping by the global norm.

use burn::tensor::Tensor;
use fineline_kernels::{self as kernels, adamw};
use fineline_model::Llama;

use crate::optim::config::{OptimConfig, WeightDecayScope};
use crate::optim::gradients::GradientSum;
use crate::parameters::{ByName, update_parameters};

/// Returns the factor that scales gradients of norm `grad_norm` down to `clip_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does.
fn clip_factor(clip_norm: f64, grad_norm: f64) -> f64 {
    match clip_norm {
        0.0 => 1.0,
        _ => (clip_norm / (grad_norm + 1e-6)).min(1.0),
    }
}

/// The optimizer state of one parameter, or of the slice of it that a rank owns. Tensors are `[n]`.
#[derive(Clone, Debug)]
pub(crate) struct AdamState {
    /// Offset of the slice in the parameter.
    pub(crate) start: usize,
    /// Running mean of the gradient.
    pub(crate) exp_avg: Tensor<1>,
    /// Running mean of the squared gradient.
    pub(crate) exp_avg_sq: Tensor<1>,
}

/// A parameter, or the slice of it that a rank owns, with its gradient.
pub(crate) struct ParameterSlice<'a> {
    /// Name of the parameter.
    pub(crate) name: &'a str,
    /// Number of dimensions of the parameter.
    pub(crate) dimensions: usize,
    /// Offset of the slice in the parameter.
    pub(crate) start: usize,
    /// Values, `[n]`.
    pub(crate) values: Tensor<1>,
    /// Gradient, `[n]`.
    pub(crate) gradient: Tensor<1>,
}

/// `torch.optim.AdamW`, preceded by gradient clipping.
///
/// Cloning is cheap: tensors are shared until one side changes them. The snapshot of a checkpoint is such a
/// clone.
#[derive(Clone, Debug)]
pub(crate) struct AdamW {
    config: OptimConfig,
    /// Number of updates so far. Skipped steps don't count.
    pub(crate) updates: u64,
    /// State by parameter. Empty until the first update.
    pub(crate) state: ByName<AdamState>,
}

impl AdamW {
    pub(crate) fn new(config: OptimConfig) -> Self {
        Self { config, updates: 0, state: ByName::new() }
    }

    /// Updates all parameters at learning rate `lr`. `grad_norm` is the norm of `gradients` before clipping.
    pub(crate) fn update(&mut self, model: Llama, gradients: GradientSum, grad_norm: f64, lr: f64) -> Llama {
        let update = self.start_update(grad_norm, lr);
        let mut gradients = gradients.0;
        update_parameters(model, |name, dimensions, values| match gradients.remove(name) {
            Some(gradient) => {
                self.update_slice(ParameterSlice { name, dimensions, start: 0, values, gradient }, &update)
            }
            None => values,
        })
    }

    /// Counts an update, and returns its coefficients.
    pub(crate) fn start_update(&mut self, grad_norm: f64, lr: f64) -> kernels::AdamW {
        self.updates += 1;
        self.coefficients(grad_norm, lr)
    }

    /// Returns the values of a slice after the update, `[n]`.
    pub(crate) fn update_slice(&mut self, slice: ParameterSlice<'_>, update: &kernels::AdamW) -> Tensor<1> {
        let ParameterSlice { name, dimensions, start, values, gradient } = slice;
        let state = self.state.remove(name).unwrap_or_else(|| AdamState {
            start,
            exp_avg: gradient.zeros_like(),
            exp_avg_sq: gradient.zeros_like(),
        });
        let weight_decay = match self.config.decay {
            WeightDecayScope::Matrices if dimensions < 2 => 0.0,
            WeightDecayScope::All | WeightDecayScope::Matrices => self.config.weight_decay,
        };
        let update = kernels::AdamW { weight_decay, ..*update };
        let averages = [state.exp_avg, state.exp_avg_sq];
        let (values, [exp_avg, exp_avg_sq]) = adamw(values, gradient, averages, &update);
        self.state.insert(name.to_owned(), AdamState { start, exp_avg, exp_avg_sq });
        values
    }

    /// Returns the coefficients of the latest update, for parameters with weight decay.
    fn coefficients(&self, grad_norm: f64, lr: f64) -> kernels::AdamW {
        let OptimConfig { betas, eps, weight_decay, clip_norm, .. } = self.config;
        let exponent = i32::try_from(self.updates).unwrap_or(i32::MAX);
        kernels::AdamW {
            lr,
            betas,
            eps,
            weight_decay,
            bias_corrections: betas.map(|beta| 1.0 - beta.powi(exponent)),
            gradient_scale: clip_factor(clip_norm, grad_norm),
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// Three updates of `torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)` in double
    /// precision.
    #[test]
    fn adamw_as_torch() {
        let config = OptimConfig { lr: 0.1, ..OptimConfig::default() };
        let mut parameter = vector(&[1.0, -2.0, 0.5]);
        let mut averages = [vector(&[0.0; 3]), vector(&[0.0; 3])];
        for (updates, gradient) in [(1, [0.3, -0.1, 0.0]), (2, [0.1, 0.2, 0.0]), (3, [-0.4, 0.3, 1e-4])] {
            let update = AdamW { updates, ..AdamW::new(config.clone()) }.coefficients(0.0, config.lr);
            (parameter, averages) = adamw(parameter, vector(&gradient), averages, &update);
        }
        let expected = reference(&[1.0, -2.0, 0.5], &[[0.3, -0.1, 0.0], [0.1, 0.2, 0.0], [-0.4, 0.3, 1e-4]]);
        for (actual, expected) in values(parameter).into_iter().zip(expected) {
            assert!((f64::from(actual) - expected).abs() < 1e-6, "{actual} is not {expected}");
        }
    }

    /// The algorithm of `torch`'s documentation, one value at a time.
    fn reference(start: &[f64; 3], gradients: &[[f64; 3]; 3]) -> Vec<f64> {
        (0..3)
            .map(|i| {
                let (mut theta, mut m, mut v) = (start[i], 0.0, 0.0);
                for (t, g) in (1..).zip(gradients.iter().map(|gradient| gradient[i])) {
                    theta -= 0.1 * 0.1 * theta;
                    m = 0.9 * m + 0.1 * g;
                    v = 0.95 * v + 0.05 * g * g;
                    let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(t)), v / (1.0 - 0.95_f64.powi(t)));
                    theta -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
                }
                theta
            })
            .collect()
    }

    #[test]
    fn the_first_update_moves_by_the_learning_rate() {
        let config = OptimConfig { weight_decay: 0.0, lr: 0.01, ..OptimConfig::default() };
        let update = AdamW { updates: 1, ..AdamW::new(config.clone()) }.coefficients(0.0, config.lr);
        let averages = [vector(&[0.0; 2]), vector(&[0.0; 2])];
        let (parameter, _) = adamw(vector(&[1.0, 1.0]), vector(&[3.0, -0.02]), averages, &update);
        for (actual, expected) in values(parameter).into_iter().zip([0.99, 1.01]) {
            assert!((actual - expected).abs() < 1e-6, "{actual} is not {expected}");
        }
    }

    #[test]
    fn clipping_only_reduces_the_norm() {
        assert_eq!(clip_factor(1.0, 0.5), 1.0);
        assert!((clip_factor(1.0, 4.0) - 0.25).abs() < 1e-6);
        assert_eq!(clip_factor(0.0, 1e9), 1.0);
    }
}
