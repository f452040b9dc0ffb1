//! The `[optim]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The `[optim]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// `"adamw"`: Adam with decoupled weight decay, as `torch.optim.AdamW`.
    pub kind: OptimKind,
    /// The peak learning rate, which `[schedule]` scales.
    pub lr: f64,
    /// Decay rates of the running means of the gradient and of the squared gradient.
    pub betas: [f64; 2],
    /// Added to the root of the bias-corrected mean of the squared gradient.
    pub eps: f64,
    /// Decoupled weight decay: each update multiplies a parameter by 1 - `weight_decay` times the learning
    /// rate.
    pub weight_decay: f64,
    /// Parameters with weight decay: `"all"`, or `"matrices"` only, which are the projections, the embedding
    /// and the head, but not the norms.
    pub decay: WeightDecayScope,
    /// Maximum global norm of the gradients. Larger gradients are scaled down to it. 0 disables clipping.
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
            decay: WeightDecayScope::All,
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

/// The parameters with weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightDecayScope {
    /// All parameters, including norms and embeddings, as Amber and `OpenLLaMA` were trained.
    All,
    /// Parameters with two dimensions (nanoGPT's rule), so not the norms.
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

#[cfg(test)]
mod tests {
    use super::*;

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
