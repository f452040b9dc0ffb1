//! The `[guard]` section.

use fineline_diagnostics::{Checker, ConfigSection, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::GuardAction;
/// The `[guard]` section: reactions to steps that go wrong. Each rule has an action, which is decided before
/// the update of that step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Number of consecutive skipped steps at which the run stops with an error. Steps skipped by any rule
    /// count, and steps without targets.
    #[schemars(extend("x-resume" = "may-change"))]
    pub max_skips: u32,
    /// Maximum number of rewinds to the same checkpoint. After that, the run stops with an error.
    #[schemars(extend("x-resume" = "may-change"))]
    pub max_rewinds: u32,
    /// Maximum number of reductions of the learning rate. After that, the run stops with an error.
    #[schemars(extend("x-resume" = "may-change"))]
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
    #[schemars(extend("x-resume" = "may-change"))]
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
    /// Returns whether the action of any rule is a rewind.
    #[must_use]
    pub fn may_rewind(&self) -> bool {
        [self.non_finite.action, self.loss_spike.action, self.grad_norm.action].contains(&GuardAction::Rewind)
    }
}

impl ConfigSection for GuardConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        for (field, value) in [
            ("max_skips", self.max_skips.into()),
            ("max_rewinds", self.max_rewinds.into()),
            ("skip_steps", self.skip_steps),
            ("lr_steps", self.lr_steps),
        ] {
            checker.require(value > 0, field, value, "must be at least 1");
        }
        checker.require(self.window >= 8, "window", self.window, "must be at least 8");
        checker.require(
            (0.0..1.0).contains(&self.lr_factor),
            "lr_factor",
            self.lr_factor,
            "must be at least 0 and below 1",
        );
        self.non_finite.check(&mut checker.nested("non_finite"));
        self.loss_spike.check(&mut checker.nested("loss_spike"));
        self.grad_norm.check(&mut checker.nested("grad_norm"));
        self.stall.check(&mut checker.nested("stall"));
    }
}

impl ConfigSection for NonFiniteRule {
    fn check(&self, checker: &mut Checker<'_>) {
        let problem =
            Problem::new(checker.key("action"), "must not be \"log\": a non-finite update is never made")
                .with_value("log")
                .with_remedy("use \"skip\" to skip it");
        if self.action == GuardAction::Log {
            checker.push(problem);
        }
    }
}

impl ConfigSection for OutlierRule {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(self.z > 0.0 && self.z.is_finite(), "z", self.z, "must be above 0");
    }
}

impl ConfigSection for StallRule {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            self.factor > 1.0 && self.factor.is_finite(),
            "factor",
            self.factor,
            "must be above 1",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        GuardConfig::default().validate("guard").unwrap();
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
            let error = config.validate("guard").unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
