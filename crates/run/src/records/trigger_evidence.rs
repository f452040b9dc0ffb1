//! Evidence of a trigger's condition.

use std::fmt;

use fineline_dynamics::Phase;
use serde::{Deserialize, Serialize};

/// The values for which the condition of a trigger held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvidence {
    /// The metric, or `phase`.
    pub metric: String,
    /// Value of the metric, or its change for the worse. Absent for a phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower end of the 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lo: Option<f64>,
    /// Upper end of the 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hi: Option<f64>,
    /// The limit that the interval is beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Step of the earlier round, for a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

impl fmt::Display for TriggerEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.phase, self.value, self.lo, self.hi, self.limit) {
            (Some(phase), ..) => write!(f, "is {phase}"),
            (None, Some(value), Some(lo), Some(hi), Some(limit)) => {
                write!(f, "{} {value:.4} [{lo:.4}, {hi:.4}], beyond {limit}", self.metric)?;
                self.since.map_or(Ok(()), |step| write!(f, " since step {step}"))
            }
            _ => f.write_str(&self.metric),
        }
    }
}
