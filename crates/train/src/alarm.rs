//! Records of a step that violated a rule of the guard: the rule, the evidence, the action, the reason for a
//! skip.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardRule {
    /// A loss that is infinite or not a number.
    NonFiniteLoss,
    /// A gradient norm that is infinite or not a number.
    NonFiniteGradient,
    /// A loss far above those of the preceding steps.
    LossSpike,
    /// A gradient norm far above those of the preceding steps.
    GradNorm,
    /// A step that took far longer than the preceding ones.
    Stall,
}

impl fmt::Display for GuardRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonFiniteLoss => "the loss is not finite",
            Self::NonFiniteGradient => "the gradient norm is not finite",
            Self::LossSpike => "the loss is far above its median",
            Self::GradNorm => "the gradient norm is far above its median",
            Self::Stall => "the step took far longer than the median",
        })
    }
}

/// A violation of a rule by a step, with the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardAlarm {
    /// The step, counted from 1.
    pub at: u64,
    /// The rule.
    pub rule: GuardRule,
    /// The action that the configuration gives the rule.
    pub action: GuardAction,
    /// The loss, the gradient norm, or the duration of the step in seconds. `None` if it is not finite.
    pub value: Option<f64>,
    /// The median of the preceding steps. `None` if the rule has none.
    pub median: Option<f64>,
    /// The spread of the preceding steps, in units of a standard deviation.
    pub scale: Option<f64>,
    /// The distance of the value above the median, in units of `scale`.
    pub z: Option<f64>,
    /// The largest `z` allowed. For a stall, the longest duration allowed, in seconds.
    pub threshold: Option<f64>,
    /// Number of violations of the rule so far, this one included.
    pub count: u32,
}

/// The action taken on a step. If a step violates several rules, the last of their actions in this order is
/// taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardAction {
    /// Logs an event and does nothing else.
    #[default]
    Log,
    /// Reduces the learning rate from this step on, for a number of steps.
    ReduceLr,
    /// Skips the update.
    Skip,
    /// Skips the update and the rows that follow.
    SkipData,
    /// Rewinds the run to its last checkpoint, and skips the rows of this step from there on.
    Rewind,
    /// Stops the run with an error.
    Stop,
}

impl GuardAction {
    /// Returns whether the step is still updated.
    pub(crate) fn allows_update(self) -> bool {
        self <= Self::ReduceLr
    }
}

impl fmt::Display for GuardAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.rule, AlarmEvidence(self))
    }
}

/// Formats the numbers of an alarm. Empty if it has none.
struct AlarmEvidence<'a>(&'a GuardAlarm);

impl fmt::Display for AlarmEvidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GuardAlarm { value, median, z, threshold, .. } = self.0;
        match (value, median, z, threshold) {
            (Some(value), Some(median), Some(z), Some(threshold)) => {
                write!(
                    f,
                    " ({value:.4} after a median of {median:.4}: {z:.1} deviations above it, \
                     {threshold} allowed)"
                )
            }
            (Some(value), Some(median), None, Some(threshold)) => {
                write!(f, " ({value:.3} s after a median of {median:.3} s, {threshold:.3} s allowed)")
            }
            _ => Ok(()),
        }
    }
}

/// Reason why a step left the weights and the optimizer state unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The loss was infinite or not a number.
    NonFiniteLoss,
    /// The gradient norm was infinite or not a number.
    NonFiniteGradient,
    /// Every target of the batch was masked. The loss is reported as 0.
    NoTargets,
    /// The loss was an outlier.
    LossSpike,
    /// The gradient norm was an outlier.
    GradNorm,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonFiniteLoss => "the loss was not finite",
            Self::NonFiniteGradient => "the gradient norm was not finite",
            Self::NoTargets => "every target of the batch was masked",
            Self::LossSpike => "the loss was far above its median",
            Self::GradNorm => "the gradient norm was far above its median",
        })
    }
}
