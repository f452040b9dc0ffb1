//! The `[optim]` section.

use fineline_diagnostics::{Checker, ConfigSection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl ConfigSection for OptimConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(self.lr > 0.0 && self.lr.is_finite(), "lr", self.lr, "must be above 0");
        let are_rates = self.betas.iter().all(|beta| (0.0..1.0).contains(beta));
        checker.require(are_rates, "betas", self.betas, "must be at least 0 and below 1");
        checker.require(self.eps > 0.0 && self.eps.is_finite(), "eps", self.eps, "must be above 0");
        let decay = self.weight_decay;
        if !(decay >= 0.0 && decay.is_finite()) {
            checker.report("weight_decay", decay, "must be at least 0");
        } else if decay * self.lr >= 1.0 {
            let message = format!("must be below 1 when multiplied by optim.lr = {:?}", self.lr);
            checker.report("weight_decay", decay, message);
        }
        checker.require(
            self.clip_norm >= 0.0,
            "clip_norm",
            self.clip_norm,
            "must be at least 0; 0 turns clipping off",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_by_key() {
        let good = OptimConfig::default();
        good.validate("optim").unwrap();
        for (config, key) in [
            (OptimConfig { lr: 0.0, ..good.clone() }, "optim.lr"),
            (OptimConfig { lr: f64::NAN, ..good.clone() }, "optim.lr"),
            (OptimConfig { betas: [0.9, 1.0], ..good.clone() }, "optim.betas"),
            (OptimConfig { eps: -1.0, ..good.clone() }, "optim.eps"),
            (OptimConfig { weight_decay: -0.1, ..good.clone() }, "optim.weight_decay"),
            (OptimConfig { clip_norm: f64::NAN, ..good }, "optim.clip_norm"),
        ] {
            let error = config.validate("optim").unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
