//! The `[guard]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::GuardAction;
use crate::error::TrainError;

/// The `[guard]` section: reactions to steps that go wrong. Each rule has an action, which is decided before
/// the update of that step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Number of consecutive skipped steps at which the run stops with an error. Steps skipped by any rule
    /// count, and steps without targets.
    pub max_skips: u32,
    /// Maximum number of rewinds to the same checkpoint. After that, the run stops with an error.
    pub max_rewinds: u32,
    /// Maximum number of reductions of the learning rate. After that, the run stops with an error.
    pub max_lr_reductions: u32,
    /// Number of preceding steps that the loss and the gradient norm are compared with. The comparison starts
    /// once there are half as many, and at least 20.
    pub window: usize,
    /// For `skip_data` and `rewind`: number of steps whose rows are skipped. `skip_data` skips the rows after
    /// the step, `rewind` those from the step on.
    pub skip_steps: u64,
    /// For `skip_data` and `rewind`: whether the rest of the chunk is skipped instead (`[data.chunks]`).
    pub skip_chunk: bool,
    /// For `reduce_lr`: factor on the learning rate.
    pub lr_factor: f64,
    /// For `reduce_lr`: number of steps that the factor applies to, including the one that violated the rule.
    pub lr_steps: u64,
    /// A loss or gradient norm that is infinite or not a number.
    pub non_finite: NonFiniteRule,
    /// A loss far above those of the preceding steps.
    pub loss_spike: OutlierRule,
    /// A gradient norm far above those of the preceding steps.
    pub grad_norm: OutlierRule,
    /// A step that takes far longer than the preceding ones. Reported in a warning while it runs, and in an
    /// event when it ends.
    pub stall: StallRule,
}

/// `[guard.non_finite]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NonFiniteRule {
    /// Any action but `"log"`: an update that isn't finite is never applied.
    pub action: GuardAction,
}

/// `[guard.loss_spike]`, `[guard.grad_norm]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierRule {
    /// `"log"`, `"reduce_lr"`, `"skip"`, `"skip_data"`, `"rewind"` or `"stop"`.
    pub action: GuardAction,
    /// Maximum distance above the median of the window, in robust standard deviations (1.4826 times the
    /// median absolute deviation).
    pub z: f64,
}

/// `[guard.stall]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StallRule {
    /// Maximum duration of a step, as a multiple of the median. Steps below one second never count as stalls.
    pub factor: f64,
}

impl Default for NonFiniteRule {
    fn default() -> Self {
        Self { action: GuardAction::Skip }
    }
}

impl Default for OutlierRule {
    /// The threshold of OLMo-core.
    fn default() -> Self {
        Self { action: GuardAction::Log, z: 6.0 }
    }
}

impl Default for StallRule {
    fn default() -> Self {
        Self { factor: 10.0 }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            max_skips: 10,
            max_rewinds: 3,
            max_lr_reductions: 10,
            window: 128,
            skip_steps: 1,
            skip_chunk: false,
            lr_factor: 0.5,
            lr_steps: 100,
            non_finite: NonFiniteRule::default(),
            loss_spike: OutlierRule::default(),
            grad_norm: OutlierRule::default(),
            stall: StallRule::default(),
        }
    }
}

impl GuardConfig {
    /// Checks ranges.
    pub fn validate(&self) -> Result<(), TrainError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let at_least_one = "must be at least 1";
        let checks = [
            (self.max_skips > 0, "guard.max_skips", at_least_one),
            (self.max_rewinds > 0, "guard.max_rewinds", at_least_one),
            (self.window >= 8, "guard.window", "must be at least 8"),
            (self.skip_steps > 0, "guard.skip_steps", at_least_one),
            (self.lr_steps > 0, "guard.lr_steps", at_least_one),
            ((0.0..1.0).contains(&self.lr_factor), "guard.lr_factor", "must be at least 0 and below 1"),
            (
                self.non_finite.action != GuardAction::Log,
                "guard.non_finite.action",
                "must not be \"log\": an update that isn't finite is never applied; use \"skip\" to skip it",
            ),
            (positive(self.loss_spike.z), "guard.loss_spike.z", "must be above 0"),
            (positive(self.grad_norm.z), "guard.grad_norm.z", "must be above 0"),
            (
                self.stall.factor.is_finite() && self.stall.factor > 1.0,
                "guard.stall.factor",
                "must be above 1",
            ),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, reason)) => Err(TrainError::config(key, reason)),
            None => Ok(()),
        }
    }

    /// Returns whether the action of any rule is a rewind.
    #[must_use]
    pub fn may_rewind(&self) -> bool {
        [self.non_finite.action, self.loss_spike.action, self.grad_norm.action].contains(&GuardAction::Rewind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        GuardConfig::default().validate().unwrap();
        let good = GuardConfig::default;
        for (config, key) in [
            (GuardConfig { max_skips: 0, ..good() }, "guard.max_skips"),
            (GuardConfig { max_rewinds: 0, ..good() }, "guard.max_rewinds"),
            (GuardConfig { window: 7, ..good() }, "guard.window"),
            (GuardConfig { skip_steps: 0, ..good() }, "guard.skip_steps"),
            (GuardConfig { lr_steps: 0, ..good() }, "guard.lr_steps"),
            (GuardConfig { lr_factor: 1.0, ..good() }, "guard.lr_factor"),
            (GuardConfig { lr_factor: f64::NAN, ..good() }, "guard.lr_factor"),
            (
                GuardConfig { non_finite: NonFiniteRule { action: GuardAction::Log }, ..good() },
                "guard.non_finite.action",
            ),
            (
                GuardConfig { loss_spike: OutlierRule { z: 0.0, ..OutlierRule::default() }, ..good() },
                "guard.loss_spike.z",
            ),
            (
                GuardConfig { grad_norm: OutlierRule { z: f64::NAN, ..OutlierRule::default() }, ..good() },
                "guard.grad_norm.z",
            ),
            (GuardConfig { stall: StallRule { factor: 1.0 }, ..good() }, "guard.stall.factor"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
