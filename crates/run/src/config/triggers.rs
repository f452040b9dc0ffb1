//! The `[[triggers]]` tables.

use fineline_diagnostics::{Checker, ConfigSection, Problem};
use fineline_dynamics::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[triggers]]`: what is to be done when probes say something. There is one condition: `worsens`, `above`, `below` or `phase`. It holds only where the whole 95 %
/// interval says so, and is looked at after each round of the task. That it held is an event; the other actions come besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerConfig {
    /// A name for events and files: letters, digits, `-` and `_`.
    pub name: String,
    /// The task or group that it looks at, or `validation/SOURCE`.
    pub task: String,
    /// Holds when the task's primary metric got worse by more than this: the interval of the paired change, over the items asked both times, is beyond it as
    /// a whole. 0: when it got worse at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worsens: Option<f64>,
    /// What `worsens` compares with.
    #[serde(default)]
    pub against: TriggerBaseline,
    /// Holds when the whole interval of `metric` is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Holds when the whole interval of `metric` is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// The metric of `above` and `below`. Absent: the task's primary metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Holds when the task comes into this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What is done besides the event: `"keep"`, `"probe"`, `"branch"`, `"rewind"`, `"stop"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<TriggerAction>,
    /// An address that the event is posted to, as JSON. Nobody waits for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A program and its arguments, started beside the run. It finds `FINELINE_TRIGGER`, `FINELINE_TASK`, `FINELINE_STEP`, `FINELINE_RUN` and
    /// `FINELINE_EVENT` (JSON) in its environment, and where there is one `FINELINE_CHECKPOINT` or `FINELINE_BRANCH`, once the checkpoint is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// `"probe"`: steps between two rounds of all probes, for a while.
    #[serde(default = "default_probe_every")]
    pub probe_every: u64,
    /// `"probe"`: for how many steps.
    #[serde(default = "default_steps")]
    pub probe_steps: u64,
    /// `"branch"`: steps over which the branch lowers the learning rate to `schedule.min_lr`.
    #[serde(default = "default_steps")]
    pub branch_steps: u64,
    /// Steps after it held in which it isn't looked at again.
    #[serde(default = "default_steps")]
    pub cooldown_steps: u64,
    /// Only the event: what would have been done stands in it.
    #[serde(default)]
    pub dry_run: bool,
}

fn default_probe_every() -> u64 {
    100
}

fn default_steps() -> u64 {
    1000
}

/// The earlier round that a change is taken since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TriggerBaseline {
    /// The task's previous round.
    #[default]
    Previous,
    /// The best of all earlier rounds, which is partly the luckiest.
    Best,
}

/// What a trigger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAction {
    /// A checkpoint of this step, kept for good: `checkpoints/kept-00000200` is a link to it.
    Keep,
    /// All probes every `probe_every` steps, for `probe_steps` steps.
    Probe,
    /// A checkpoint that is kept, and in `branches/` what it takes to train on from it with a decaying learning rate.
    Branch,
    /// Back to the newest checkpoint that is not after the task's previous round. The rows since then are left out.
    Rewind,
    /// The end of the run, after a checkpoint.
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
