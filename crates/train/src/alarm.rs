//! Records of a step that went wrong: the rule that it broke, the evidence, the action, the reason of a skip.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the guard watches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardRule {
    /// A loss that is infinite or not a number.
    NonFiniteLoss,
    /// A gradient norm that is.
    NonFiniteGradient,
    /// A loss far above those of the steps before.
    LossSpike,
    /// A gradient norm far above those of the steps before.
    GradNorm,
    /// A step that took far longer than those before.
    Stall,
}

impl fmt::Display for GuardRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonFiniteLoss => "the loss is not finite",
            Self::NonFiniteGradient => "the norm of the gradients is not finite",
            Self::LossSpike => "the loss is far above its median",
            Self::GradNorm => "the norm of the gradients is far above its median",
            Self::Stall => "the step took far longer than the median",
        })
    }
}

/// A rule that a step broke, with the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardAlarm {
    /// The step, counted from 1.
    pub at: u64,
    /// The rule.
    pub rule: GuardRule,
    /// What the rule asks for.
    pub action: GuardAction,
    /// The loss, the norm, or the seconds of the step; none where that is not finite.
    pub value: Option<f64>,
    /// The median of the steps before; none where the rule needs none.
    pub median: Option<f64>,
    /// Their spread, in units of a standard deviation.
    pub scale: Option<f64>,
    /// By how many scales the value is above the median.
    pub z: Option<f64>,
    /// What `z` may not be above; of a stall, what the value may not be above.
    pub threshold: Option<f64>,
    /// How many times the rule has been broken so far, this time included.
    pub count: u32,
}

/// What is done about a step. Of several, the last in this order counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardAction {
    /// An event, nothing else.
    #[default]
    Log,
    /// The learning rate is lowered from this step on, for a while.
    ReduceLr,
    /// The update is left out.
    Skip,
    /// The update is left out, and so are the rows that follow.
    SkipData,
    /// The run goes back to its last checkpoint, and leaves out the rows of this step when it comes by again.
    Rewind,
    /// The run stops with an error.
    Stop,
}

impl GuardAction {
    /// Whether the update of the step is made.
    pub(crate) fn allows_update(self) -> bool {
        self <= Self::ReduceLr
    }
}

impl fmt::Display for GuardAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.rule, AlarmEvidence(self))
    }
}

/// An alarm's numbers as people read them; nothing where there are none.
struct AlarmEvidence<'a>(&'a GuardAlarm);

impl fmt::Display for AlarmEvidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GuardAlarm { value, median, z, threshold, .. } = self.0;
        match (value, median, z, threshold) {
            (Some(value), Some(median), Some(z), Some(threshold)) => {
                write!(
                    f,
                    " ({value:.4} after a median of {median:.4}: {z:.1} deviations above it, {threshold} allowed)"
                )
            }
            (Some(value), Some(median), None, Some(threshold)) => {
                write!(f, " ({value:.3} s after a median of {median:.3} s, {threshold:.3} s allowed)")
            }
            _ => Ok(()),
        }
    }
}

/// Why a step left weights and moments as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The loss was infinite or not a number.
    NonFiniteLoss,
    /// The norm of the gradients was.
    NonFiniteGradient,
    /// Every target of the batch was masked. The loss is reported as 0.
    NoTargets,
    /// The guard took the loss for an outlier.
    LossSpike,
    /// The guard took the norm of the gradients for one.
    GradNorm,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonFiniteLoss => "the loss was not finite",
            Self::NonFiniteGradient => "the norm of the gradients was not finite",
            Self::NoTargets => "every target of the batch was masked",
            Self::LossSpike => "the loss was far above its median",
            Self::GradNorm => "the norm of the gradients was far above its median",
        })
    }
}
