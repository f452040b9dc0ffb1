//! The `[[probes]]` section of a configuration.

use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scorers::generation::sandbox::CodeExecution;

/// `[[probes]]`: a suite of tasks, and the steps at which the model is evaluated on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a separate key")]
pub struct ProbeConfig {
    /// `tinyworld`, `in_context`, `representation`, the name of a suite in `configs/probes`, or the path of a
    /// suite's or a task's TOML file.
    pub suite: String,
    /// Names of the tasks to run. Empty: all tasks of the suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
    /// Number of steps between evaluations. 0: no regular evaluations.
    #[serde(default = "default_every_steps")]
    pub every_steps: u64,
    /// Whether to run rounds at steps 1, 2, 4, 8, ... below `every_steps`.
    #[serde(default = "default_true")]
    pub log_spaced: bool,
    /// Whether to run a round at the end of each chunk (`[data.chunks]`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every_chunk: bool,
    /// Whether to run a round before the first step.
    #[serde(default = "default_true")]
    pub at_start: bool,
    /// Whether to run a round after the last step.
    #[serde(default = "default_true")]
    pub at_end: bool,
    /// Fraction of the wall time that rounds may take, above 0 and below 1. Each round evaluates as many
    /// items as the budget allows, and is skipped if the budget doesn't allow the smallest useful number. The
    /// first round evaluates that number, the last one at least that number. The number of items of a round
    /// then depends on the machine's speed. Absent: every round evaluates all items up to `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Maximum number of items per task. They are the same at every step and in every run, and a smaller
    /// limit selects a subset of a larger one. Absent: all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Directory in which task files look for data that is not next to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Whether tasks of kind `code` may run the programs that the model writes, in a sandbox. Without it, a
    /// suite with such tasks is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_code_execution: bool,
    /// The Python 3 that runs these programs. Absent: `python3` on the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
}

fn default_every_steps() -> u64 {
    1000
}

fn default_true() -> bool {
    true
}

impl ProbeConfig {
    /// All items of all tasks of `suite`, at the default intervals.
    #[must_use]
    pub fn all(suite: &str) -> Self {
        Self {
            suite: suite.to_owned(),
            tasks: Vec::new(),
            every_steps: default_every_steps(),
            log_spaced: true,
            every_chunk: false,
            at_start: true,
            at_end: true,
            budget: None,
            limit: None,
            data_dir: None,
            allow_code_execution: false,
            python: None,
        }
    }

    /// Permission to run the programs that the model writes.
    #[must_use]
    pub fn code(&self) -> CodeExecution<'_> {
        if self.allow_code_execution {
            CodeExecution::Allowed(self.python.as_deref())
        } else {
            CodeExecution::Forbidden
        }
    }

    /// Whether a round is due after `step` of a run of `last_step` steps. Step 0 is before the first.
    #[must_use]
    pub fn is_due(&self, step: u64, last_step: u64) -> bool {
        let is_regular = self.every_steps > 0 && step.is_multiple_of(self.every_steps);
        let is_log_spaced =
            self.log_spaced && step.is_power_of_two() && (self.every_steps == 0 || step < self.every_steps);
        match step {
            0 => self.at_start,
            _ if step == last_step && self.at_end => true,
            _ => is_regular || is_log_spaced,
        }
    }
}

impl ConfigSection for ProbeConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            !self.suite.trim().is_empty(),
            "suite",
            &self.suite,
            "must be the name of a suite or a path",
        );
        if let Some(budget) = self.budget {
            let is_fraction = budget > 0.0 && budget < 1.0;
            checker.require(
                is_fraction,
                "budget",
                budget,
                "must be above 0 and below 1, or absent for no limit",
            );
        }
        checker.require(self.limit != Some(0), "limit", 0, "must be at least 1, or absent for all items");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(toml: &str) -> String {
        let problems = config(toml).validate("probes").unwrap_err();
        problems.into_iter().map(|problem| problem.key.to_string()).collect()
    }

    fn config(toml: &str) -> ProbeConfig {
        toml::from_str(&format!("suite = \"tinyworld\"\n{toml}")).unwrap()
    }

    fn due(toml: &str, last_step: u64) -> Vec<u64> {
        let config = config(toml);
        (0..=last_step).filter(|&step| config.is_due(step, last_step)).collect()
    }

    #[test]
    fn log_spaced_until_the_regular_cadence_takes_over() {
        assert_eq!(due("every_steps = 10", 35), [0, 1, 2, 4, 8, 10, 20, 30, 35]);
        assert_eq!(due("every_steps = 8", 17), [0, 1, 2, 4, 8, 16, 17]);
    }

    #[test]
    fn defaults_are_those_of_a_table_with_a_suite_alone() {
        assert_eq!(ProbeConfig::all("tinyworld"), config(""));
    }

    #[test]
    fn each_part_of_the_cadence_can_be_turned_off() {
        assert_eq!(due("every_steps = 4\nlog_spaced = false\nat_start = false\nat_end = false", 9), [4, 8]);
        assert_eq!(due("every_steps = 0", 9), [0, 1, 2, 4, 8, 9]);
        assert!(due("every_steps = 0\nlog_spaced = false\nat_end = false\nat_start = false", 9).is_empty());
    }

    #[test]
    fn a_run_of_no_steps_has_the_round_at_its_start() {
        assert_eq!(due("", 0), [0]);
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert_eq!(config("").validate("probes"), Ok(()));
        assert_eq!(key_at_fault("budget = nan"), "probes.budget");
        assert_eq!(key_at_fault("budget = 0.0"), "probes.budget");
        assert_eq!(key_at_fault("limit = 0"), "probes.limit");
    }
}
