//! `AdamW` with decoupled weight decay, and clipping by the global norm.
//!
//! All vectors here are flat (`[n]`), in float32, and keyed by the Hugging Face name of their parameter.

use burn::tensor::{Gradients, Tensor};
use fineline_kernels::{self as kernels, adamw, add_to, sum_of_squares};
use fineline_model::Llama;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::parameters::{ByName, take_gradients, update_parameters};

/// The parameter that tokens are looked up in.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The `[optim]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// `"adamw"`: Adam with decoupled weight decay, as `torch.optim.AdamW`.
    pub kind: OptimKind,
    /// The peak learning rate, from which `[schedule]` takes its course.
    pub lr: f64,
    /// Decay rates of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the second moment, after its bias is corrected.
    pub eps: f64,
    /// Share of a parameter, times the learning rate, that each update takes away.
    pub weight_decay: f64,
    /// What `weight_decay` acts on: `"all"` parameters, or `"matrices"` only: the projections, the embedding and
    /// the head, but no norms.
    pub decay: Decay,
    /// Gradients whose global norm is above this are scaled down to it. 0 turns clipping off.
    pub clip_norm: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            kind: OptimKind::Adamw,
            lr: 3e-4,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.1,
            decay: Decay::All,
            clip_norm: 1.0,
        }
    }
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimKind {
    /// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    Adamw,
}

/// Which parameters weight decay acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// All of them, norms and embeddings too: what Amber and `OpenLLaMA` were trained with.
    All,
    /// Those with two dimensions (nanoGPT's rule): not the norms.
    Matrices,
}

impl OptimConfig {
    /// Checks ranges.
    pub fn validate(&self) -> Result<(), TrainError> {
        let check = |key, value: f64, good: bool, expected: &str| {
            if good {
                Ok(())
            } else {
                Err(TrainError::config(key, format!("must be {expected}, got {value}")))
            }
        };
        check("optim.lr", self.lr, self.lr > 0.0 && self.lr.is_finite(), "above 0")?;
        for beta in self.betas {
            check("optim.betas", beta, (0.0..1.0).contains(&beta), "from 0 to below 1")?;
        }
        check("optim.eps", self.eps, self.eps > 0.0 && self.eps.is_finite(), "above 0")?;
        check(
            "optim.weight_decay",
            self.weight_decay,
            self.weight_decay >= 0.0 && self.weight_decay * self.lr < 1.0,
            "at least 0, and below 1 when multiplied by optim.lr",
        )?;
        check("optim.clip_norm", self.clip_norm, self.clip_norm >= 0.0, "at least 0")
    }
}

/// The gradient of one step, added up over its micro-batches.
#[derive(Default)]
pub(crate) struct GradientSum(pub(crate) ByName<Tensor<1>>);

impl GradientSum {
    /// The gradients of one backward pass.
    pub(crate) fn of(model: &Llama, gradients: Gradients) -> Self {
        Self(take_gradients(model, gradients))
    }

    /// Takes the gradient of a parameter out, `[n]`, if it has one.
    pub(crate) fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.0.remove(name)
    }

    /// Both, added up parameter by parameter.
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (name, right) in other.0 {
            let both = match sum.remove(&name) {
                Some(left) => add_to(left, right),
                None => right,
            };
            sum.insert(name, both);
        }
        Self(sum)
    }

    /// Takes the gradient of one row of the embedding away. A row that is zero then stays so: decay takes a share of nothing.
    pub(crate) fn freeze_embedding_row(&mut self, row: usize, width: usize) {
        if let Some(gradient) = self.0.remove(EMBEDDING) {
            self.0.insert(EMBEDDING.to_owned(), gradient.slice_fill(row * width..(row + 1) * width, 0.0));
        }
    }

    /// The norm of all gradients as one vector, `[1]`, not yet read from the device.
    ///
    /// `None` if there are none.
    pub(crate) fn norm(&self) -> Option<Tensor<1>> {
        let squares: Vec<Tensor<1>> = self.0.values().cloned().map(sum_of_squares).collect();
        (!squares.is_empty()).then(|| Tensor::cat(squares, 0).sum().sqrt())
    }
}

#[cfg(test)]
impl GradientSum {
    /// Makes every value of the first gradient `value`.
    pub(crate) fn poison(&mut self, value: f64) {
        if let Some(gradient) = self.0.values_mut().next() {
            *gradient = gradient.zeros_like().add_scalar(value);
        }
    }
}

/// The factor that brings gradients of norm `grad_norm` down to `clip_norm`, as `torch.nn.utils.clip_grad_norm_`.
fn clip_factor(clip_norm: f64, grad_norm: f64) -> f64 {
    match clip_norm {
        0.0 => 1.0,
        _ => (clip_norm / (grad_norm + 1e-6)).min(1.0),
    }
}

/// The running means that Adam keeps of one parameter, or of the part of it that a rank owns: `[n]` each.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// Which of the parameter's values the first is of.
    pub(crate) start: usize,
    /// Of the gradient.
    pub(crate) exp_avg: Tensor<1>,
    /// Of its square.
    pub(crate) exp_avg_sq: Tensor<1>,
}

/// The values of a parameter, or of the part of it that a rank owns, and how they are to change.
pub(crate) struct Part<'a> {
    /// The parameter.
    pub(crate) name: &'a str,
    /// How many dimensions it has.
    pub(crate) dimensions: usize,
    /// Which of its values the first is.
    pub(crate) start: usize,
    /// `[n]`.
    pub(crate) values: Tensor<1>,
    /// `[n]`.
    pub(crate) gradient: Tensor<1>,
}

/// `torch.optim.AdamW`, with clipping in front of it.
///
/// Cloning is cheap: the tensors are shared until one side changes them. That is what a checkpoint's snapshot is.
#[derive(Clone, Debug)]
pub(crate) struct AdamW {
    config: OptimConfig,
    /// Updates made so far. Skipped steps are none.
    pub(crate) updates: u64,
    /// Empty until the first update.
    pub(crate) moments: ByName<Moments>,
}

impl AdamW {
    pub(crate) fn new(config: OptimConfig) -> Self {
        Self { config, updates: 0, moments: ByName::new() }
    }

    /// One update at learning rate `lr`. `grad_norm` is the norm of `gradients` before clipping.
    pub(crate) fn update(&mut self, model: Llama, gradients: GradientSum, grad_norm: f64, lr: f64) -> Llama {
        let update = self.begin_update(grad_norm, lr);
        let mut gradients = gradients.0;
        update_parameters(model, |name, dimensions, values| match gradients.remove(name) {
            Some(gradient) => {
                self.update_part(Part { name, dimensions, start: 0, values, gradient }, &update)
            }
            None => values,
        })
    }

    /// Counts an update, and gives its numbers.
    pub(crate) fn begin_update(&mut self, grad_norm: f64, lr: f64) -> kernels::AdamW {
        self.updates += 1;
        self.rule(grad_norm, lr)
    }

    /// The values of a part after the update, `[n]`.
    pub(crate) fn update_part(&mut self, part: Part<'_>, update: &kernels::AdamW) -> Tensor<1> {
        let Part { name, dimensions, start, values, gradient } = part;
        let moments = self.moments.remove(name).unwrap_or_else(|| Moments {
            start,
            exp_avg: gradient.zeros_like(),
            exp_avg_sq: gradient.zeros_like(),
        });
        let weight_decay = match self.config.decay {
            Decay::Matrices if dimensions < 2 => 0.0,
            Decay::All | Decay::Matrices => self.config.weight_decay,
        };
        let update = kernels::AdamW { weight_decay, ..*update };
        let moments = [moments.exp_avg, moments.exp_avg_sq];
        let (values, [exp_avg, exp_avg_sq]) = adamw(values, gradient, moments, &update);
        self.moments.insert(name.to_owned(), Moments { start, exp_avg, exp_avg_sq });
        values
    }

    /// The numbers of the update that `updates` counts last, for parameters that decay.
    fn rule(&self, grad_norm: f64, lr: f64) -> kernels::AdamW {
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

    /// Three updates of `torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)` in double precision.
    #[test]
    fn adamw_as_torch() {
        let config = OptimConfig { lr: 0.1, ..OptimConfig::default() };
        let mut parameter = vector(&[1.0, -2.0, 0.5]);
        let mut moments = [vector(&[0.0; 3]), vector(&[0.0; 3])];
        for (updates, gradient) in [(1, [0.3, -0.1, 0.0]), (2, [0.1, 0.2, 0.0]), (3, [-0.4, 0.3, 1e-4])] {
            let update = AdamW { updates, ..AdamW::new(config.clone()) }.rule(0.0, config.lr);
            (parameter, moments) = adamw(parameter, vector(&gradient), moments, &update);
        }
        let expected = reference(&[1.0, -2.0, 0.5], &[[0.3, -0.1, 0.0], [0.1, 0.2, 0.0], [-0.4, 0.3, 1e-4]]);
        for (actual, expected) in values(parameter).into_iter().zip(expected) {
            assert!((f64::from(actual) - expected).abs() < 1e-6, "{actual} is not {expected}");
        }
    }

    /// The algorithm as `torch`'s documentation states it, one number at a time.
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
        let update = AdamW { updates: 1, ..AdamW::new(config.clone()) }.rule(0.0, config.lr);
        let moments = [vector(&[0.0; 2]), vector(&[0.0; 2])];
        let (parameter, _) = adamw(vector(&[1.0, 1.0]), vector(&[3.0, -0.02]), moments, &update);
        for (actual, expected) in values(parameter).into_iter().zip([0.99, 1.01]) {
            assert!((actual - expected).abs() < 1e-6, "{actual} is not {expected}");
        }
    }

    #[test]
    fn clipping_brings_the_norm_down_and_never_up() {
        assert_eq!(clip_factor(1.0, 0.5), 1.0);
        assert!((clip_factor(1.0, 4.0) - 0.25).abs() < 1e-6);
        assert_eq!(clip_factor(0.0, 1e9), 1.0);
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_as_one_vector() {
        assert!(GradientSum::default().norm().is_none());
        let sum =
            GradientSum([("b".to_owned(), vector(&[3.0])), ("a".to_owned(), vector(&[0.0, 4.0]))].into());
        assert_eq!(values(sum.norm().unwrap()), [5.0]);
    }

    #[test]
    fn ranges_are_checked_by_key() {
        let good = OptimConfig::default();
        good.validate().unwrap();
        for (config, key) in [
            (OptimConfig { lr: 0.0, ..good.clone() }, "optim.lr"),
            (OptimConfig { lr: f64::NAN, ..good.clone() }, "optim.lr"),
            (OptimConfig { betas: [0.9, 1.0], ..good.clone() }, "optim.betas"),
            (OptimConfig { eps: -1.0, ..good.clone() }, "optim.eps"),
            (OptimConfig { weight_decay: -0.1, ..good.clone() }, "optim.weight_decay"),
            (OptimConfig { clip_norm: f64::NAN, ..good }, "optim.clip_norm"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
