//! The `[checkpoint]` section.

use std::collections::BTreeMap;

use fineline_diagnostics::{Checker, ConfigSection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[checkpoint]` section: when checkpoints are written, and which are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Number of steps between checkpoints. There is always a checkpoint of the last step, and of the step at
    /// which a run is stopped.
    pub every_steps: u64,
    /// Number of newest checkpoints that are kept.
    pub keep_last: usize,
    /// Checkpoints whose step is a multiple of this are kept permanently. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// Whether there is a checkpoint at the end of each chunk (`[data.chunks]`). These are kept permanently,
    /// with a link such as `checkpoints/ckpt_000` for chunk 0.
    pub every_chunk: bool,
    /// Number of consecutive checkpoints that can't be written at which the run stops with an error. Before
    /// that, training continues, and the next attempt follows after a tenth of `every_steps`. The last
    /// checkpoint of a run is retried without further steps.
    pub max_failures: u32,
}

/// Steps with an additional checkpoint that is kept permanently, and the name of the link to it.
pub type CheckpointMilestones = BTreeMap<u64, String>;

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every_steps: 1000, keep_last: 3, keep_every: None, every_chunk: true, max_failures: 3 }
    }
}

impl CheckpointConfig {
    /// Returns the number of steps from a failed checkpoint to the next attempt.
    pub(crate) fn retry_after(&self) -> u64 {
        (self.every_steps / 10).max(1)
    }

    /// Returns those of `steps`, ascending, whose checkpoints are to be removed.
    pub fn outdated<'a>(
        &self,
        steps: &'a [u64],
        milestones: &'a CheckpointMilestones,
    ) -> impl Iterator<Item = u64> + 'a {
        let keep_every = self.keep_every;
        let old = steps.len().saturating_sub(self.keep_last);
        steps[..old]
            .iter()
            .copied()
            .filter(move |step| keep_every.is_none_or(|every| !step.is_multiple_of(every)))
            .filter(|step| !milestones.contains_key(step))
    }
}

impl ConfigSection for CheckpointConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(self.every_steps > 0, "every_steps", self.every_steps, "must be at least 1");
        checker.require(
            self.keep_last > 0,
            "keep_last",
            self.keep_last,
            "must be at least 1: a run resumes from the newest checkpoint",
        );
        checker.require(self.max_failures > 0, "max_failures", self.max_failures, "must be at least 1");
        checker.require(self.keep_every != Some(0), "keep_every", 0, "must be at least 1, or be absent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_and_the_multiples_are_kept() {
        let outdated = |keep_last, keep_every, steps: &[u64]| -> Vec<u64> {
            let config =
                CheckpointConfig { every_steps: 10, keep_last, keep_every, ..CheckpointConfig::default() };
            config.outdated(steps, &CheckpointMilestones::from([(7, "ckpt_000".to_owned())])).collect()
        };
        assert_eq!(outdated(2, None, &[10, 20, 30, 40]), [10, 20]);
        assert_eq!(outdated(1, Some(20), &[10, 20, 25, 30, 40, 50]), [10, 25, 30]);
        assert_eq!(outdated(1, None, &[7, 10, 20]), [10]);
        assert_eq!(outdated(9, None, &[10, 20]), [] as [u64; 0]);
        assert_eq!(outdated(1, None, &[]), [] as [u64; 0]);
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        let good = CheckpointConfig::default();
        good.validate("checkpoint").unwrap();
        for (config, key) in [
            (CheckpointConfig { every_steps: 0, ..good.clone() }, "checkpoint.every_steps"),
            (CheckpointConfig { keep_last: 0, ..good.clone() }, "checkpoint.keep_last"),
            (CheckpointConfig { max_failures: 0, ..good.clone() }, "checkpoint.max_failures"),
            (CheckpointConfig { keep_every: Some(0), ..good.clone() }, "checkpoint.keep_every"),
        ] {
            assert!(config.validate("checkpoint").unwrap_err().to_string().starts_with(key));
        }
    }
}
