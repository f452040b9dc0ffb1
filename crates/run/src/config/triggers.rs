//! The `[[triggers]]` tables.

use fineline_diagnostics::{Checker, ConfigSection, Problem};
use fineline_dynamics::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A `[[triggers]]` table: actions that follow from evaluation results. It has exactly one condition:
/// `worsens`, `above`, `below` or `phase`. Conditions are checked after each evaluation of the task, against
/// the whole 95 % confidence interval. A condition that holds is logged as an event, in addition to the
/// actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerConfig {
    /// Name for events and files: letters, digits, `-` and `_`.
    pub name: String,
    /// Name of the task or group, or `validation/SOURCE`.
    pub task: String,
    /// Condition: the primary metric of the task got worse by more than this. The whole interval of the
    /// paired difference, over the items of both evaluations, must exceed it. 0: it got worse at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worsens: Option<f64>,
    /// The earlier evaluation that `worsens` compares with: `"previous"` or `"best"`.
    #[serde(default)]
    pub against: TriggerBaseline,
    /// Condition: the whole interval of `metric` is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Condition: the whole interval of `metric` is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Metric of `above` and `below`. Absent: the primary metric of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Condition: the task enters this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Actions in addition to the event: `"keep"`, `"probe"`, `"branch"`, `"rewind"`, `"stop"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<TriggerAction>,
    /// URL that the event is posted to, as JSON. The run doesn't wait for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Program with arguments, started in parallel to the run. Its environment has `FINELINE_TRIGGER`,
    /// `FINELINE_TASK`, `FINELINE_STEP`, `FINELINE_RUN` and `FINELINE_EVENT` (JSON), and, if the actions
    /// write a checkpoint, `FINELINE_CHECKPOINT` or `FINELINE_BRANCH`; then it starts once the checkpoint is
    /// complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// For `"probe"`: number of steps between evaluations of all probes.
    #[serde(default = "default_probe_every")]
    pub probe_every: u64,
    /// For `"probe"`: number of steps for which `probe_every` applies.
    #[serde(default = "default_steps")]
    pub probe_steps: u64,
    /// For `"branch"`: number of steps over which the branch decays the learning rate to `schedule.min_lr`.
    #[serde(default = "default_steps")]
    pub branch_steps: u64,
    /// Number of steps after a trigger fired in which its condition isn't checked.
    #[serde(default = "default_steps")]
    pub cooldown_steps: u64,
    /// Whether to log only the event, with the actions that would have been taken.
    #[serde(default)]
    pub dry_run: bool,
}

fn default_probe_every() -> u64 {
    100
}

fn default_steps() -> u64 {
    1000
}

/// The earlier evaluation that a change is measured from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TriggerBaseline {
    /// The previous evaluation of the task.
    #[default]
    Previous,
    /// The best earlier evaluation. It is biased, since the best one is partly luck.
    Best,
}

/// What a trigger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAction {
    /// Writes a checkpoint of this step that is kept permanently, with the link `checkpoints/kept-00000200`.
    Keep,
    /// Evaluates all probes every `probe_every` steps, for `probe_steps` steps.
    Probe,
    /// Writes a checkpoint that is kept permanently, and a configuration in `branches/` that continues from
    /// it with a decaying learning rate.
    Branch,
    /// Goes back to the newest checkpoint that isn't after the previous evaluation of the task. The rows
    /// since then are skipped.
    Rewind,
    /// Stops the run after a checkpoint.
    Stop,
}

impl ConfigSection for TriggerConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        checker.require(
            !self.name.is_empty() && self.name.chars().all(is_plain),
            "name",
            &self.name,
            "must consist of letters, digits, `-` and `_`",
        );
        checker.require(!self.task.is_empty(), "task", &self.task, "must be the name of a task");
        let conditions =
            [self.worsens.is_some(), self.above.is_some(), self.below.is_some(), self.phase.is_some()];
        let given = conditions.into_iter().filter(|is_given| *is_given).count();
        let message = format!("needs one condition (worsens, above, below or phase), but has {given}");
        checker.require(given == 1, "name", &self.name, message);
        for (field, limit) in [("worsens", self.worsens), ("above", self.above), ("below", self.below)] {
            if let Some(limit) = limit {
                checker.require(limit.is_finite(), field, limit, "must be finite");
            }
        }
        if let Some(limit) = self.worsens {
            checker.require(limit >= 0.0 || limit.is_nan(), "worsens", limit, "must be at least 0");
        }
        if let Some(metric) = &self.metric {
            let is_used = self.above.is_some() || self.below.is_some();
            checker.require(is_used, "metric", metric, "must be absent without above or below");
        }
        let is_program_named = self.command.first().is_none_or(|program| !program.is_empty());
        checker.require(is_program_named, "command", &self.command, "must begin with a program");
        for (field, steps) in [("probe_every", self.probe_every), ("branch_steps", self.branch_steps)] {
            checker.require(steps > 0, field, steps, "must be at least 1");
        }
        if self.actions.contains(&TriggerAction::Stop) && self.actions.contains(&TriggerAction::Rewind) {
            checker
                .push(Problem::new(checker.key("actions"), "must not contain both \"stop\" and \"rewind\""));
        }
    }
}

impl TriggerConfig {
    /// Whether it may take the run back.
    pub(crate) fn may_rewind(&self) -> bool {
        self.actions.contains(&TriggerAction::Rewind) && !self.dry_run
    }

    /// Whether it has a checkpoint kept.
    pub(crate) fn keeps(&self) -> bool {
        [TriggerAction::Keep, TriggerAction::Branch].iter().any(|action| self.actions.contains(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_at_fault(toml: &str) -> Vec<String> {
        let text = format!("name = \"t\"\ntask = \"hellaswag\"\n{toml}");
        let trigger: TriggerConfig = toml::from_str(&text).unwrap();
        let problems = trigger.validate("").err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key.to_string()).collect()
    }

    #[test]
    fn one_condition_and_what_belongs_to_it() {
        assert!(keys_at_fault("worsens = 0.0").is_empty());
        assert!(keys_at_fault("above = 0.5\nmetric = \"acc\"").is_empty());
        assert!(keys_at_fault("phase = \"plateau\"").is_empty());
        assert_eq!(keys_at_fault(""), ["name"]);
        assert_eq!(keys_at_fault("above = 0.5\nbelow = 0.4"), ["name"]);
        assert_eq!(keys_at_fault("worsens = -0.1"), ["worsens"]);
        assert_eq!(keys_at_fault("below = inf"), ["below"]);
        assert_eq!(keys_at_fault("worsens = 0.1\nmetric = \"acc\""), ["metric"]);
        assert_eq!(keys_at_fault("above = 0.5\nactions = [\"stop\", \"rewind\"]"), ["actions"]);
        assert_eq!(keys_at_fault("above = 0.5\ncommand = [\"\"]"), ["command"]);
        assert_eq!(keys_at_fault("above = 0.5\nprobe_every = 0"), ["probe_every"]);
    }
}
