//! The guard: checks the loss and the gradient norm of each step before its update, and decides what to do
//! about it.
//!
//! - [`GuardConfig`] is the `[guard]` section: a rule for each kind of problem, an action for each rule.
//! - [`Guard::judge`] makes every decision. It is a pure function of the guard's state and of the metrics of
//!   the step, so all ranks decide alike. [`Guard::record`] then adds the step to the state.
//! - [`StallDetector`] depends on the clock, so it is separate: it decides nothing and isn't part of the
//!   state.
//!
//! The state is saved in every checkpoint, so a resumed run makes the same decisions as an uninterrupted one.

// The section, and statistics of recent steps.
mod config;
mod window;

// Durations of steps.
mod stall;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alarm::{GuardAction, GuardAlarm, GuardRule, SkipReason};

pub use config::{GuardConfig, NonFiniteRule, OutlierRule, StallRule};
pub(crate) use stall::StallDetector;
pub use stall::{LateStep, StepClock, StepLimit};
use window::{ValueWindow, WindowBaseline};

/// The decision of the guard on a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardVerdict {
    /// The rules that the step violates.
    pub alarms: Vec<GuardAlarm>,
    /// Reason why the update is skipped. `None` if it isn't.
    pub skipped: Option<SkipReason>,
}

impl GuardVerdict {
    /// Returns the alarm with the strongest action, the first of equal ones.
    #[must_use]
    pub fn decisive(&self) -> Option<&GuardAlarm> {
        self.alarms.iter().rev().max_by_key(|alarm| alarm.action)
    }

    fn action(&self) -> Option<GuardAction> {
        self.decisive().map(|alarm| alarm.action)
    }
}

/// Metrics of a step before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StepMetrics {
    /// The step, counted from 1.
    pub(crate) step: u64,
    /// Loss of the global batch, in nats per token.
    pub(crate) loss: f32,
    /// Norm of all gradients, before clipping.
    pub(crate) grad_norm: f32,
}

/// The state of the guard, saved in every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardState {
    losses: ValueWindow,
    grad_norms: ValueWindow,
    /// The reduction of the learning rate that is in effect, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lr_reduction: Option<LrReduction>,
    /// Number of reductions of the learning rate so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    lr_reductions: u32,
    /// Number of violations of each rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<GuardRule, u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct LrReduction {
    /// The last step that it applies to.
    until: u64,
    factor: f64,
}

/// The rules of `[guard]` with their state.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    config: GuardConfig,
    pub(crate) state: GuardState,
}

impl Guard {
    pub(crate) fn new(config: GuardConfig, state: GuardState) -> Self {
        Self { config, state }
    }

    /// Decides on a step. The state doesn't change.
    pub(crate) fn judge(&self, numbers: &StepMetrics) -> GuardVerdict {
        let alarms = if numbers.loss.is_finite() && numbers.grad_norm.is_finite() {
            self.outlier_alarms(numbers)
        } else {
            vec![self.non_finite_alarm(numbers)]
        };
        let mut verdict = GuardVerdict { alarms, skipped: None };
        let reason = verdict.decisive().map(|alarm| match alarm.rule {
            GuardRule::NonFiniteLoss => SkipReason::NonFiniteLoss,
            GuardRule::NonFiniteGradient => SkipReason::NonFiniteGradient,
            GuardRule::LossSpike | GuardRule::Stall => SkipReason::LossSpike,
            GuardRule::GradNorm => SkipReason::GradNorm,
        });
        let finite = numbers.loss.is_finite() && numbers.grad_norm.is_finite();
        let updates = finite && verdict.action().is_none_or(GuardAction::allows_update);
        verdict.skipped = reason.filter(|_| !updates);
        verdict
    }

    fn non_finite_alarm(&self, numbers: &StepMetrics) -> GuardAlarm {
        let rule =
            if numbers.loss.is_finite() { GuardRule::NonFiniteGradient } else { GuardRule::NonFiniteLoss };
        GuardAlarm {
            at: numbers.step,
            rule,
            action: self.config.non_finite.action,
            value: None,
            median: None,
            scale: None,
            z: None,
            threshold: None,
            count: self.count(rule) + 1,
        }
    }

    fn outlier_alarms(&self, numbers: &StepMetrics) -> Vec<GuardAlarm> {
        let GuardConfig { loss_spike, grad_norm, window, .. } = &self.config;
        let watched = [
            (GuardRule::LossSpike, loss_spike, &self.state.losses, numbers.loss),
            (GuardRule::GradNorm, grad_norm, &self.state.grad_norms, numbers.grad_norm),
        ];
        let check = |(rule, config, recent, value): (GuardRule, &OutlierRule, &ValueWindow, f32)| {
            let WindowBaseline { median, scale } = recent.baseline(*window)?;
            let value = f64::from(value);
            let z = (value - median) / scale;
            (z > config.z).then(|| GuardAlarm {
                at: numbers.step,
                rule,
                action: config.action,
                value: Some(value),
                median: Some(median),
                scale: Some(scale),
                z: Some(z),
                threshold: Some(config.z),
                count: self.count(rule) + 1,
            })
        };
        watched.into_iter().filter_map(check).collect()
    }

    fn count(&self, rule: GuardRule) -> u32 {
        self.state.counts.get(&rule).copied().unwrap_or(0)
    }

    /// Adds a step and the decision on it to the state.
    pub(crate) fn record(&mut self, numbers: &StepMetrics, verdict: &GuardVerdict) {
        let state = &mut self.state;
        for alarm in &verdict.alarms {
            state.counts.insert(alarm.rule, alarm.count);
        }
        // As in OLMo-core, skipped steps count too: values that stay at a new level become the baseline.
        state.losses.push(numbers.loss, self.config.window);
        state.grad_norms.push(numbers.grad_norm, self.config.window);
        if verdict.action() == Some(GuardAction::ReduceLr) {
            let until = numbers.step + self.config.lr_steps - 1;
            state.lr_reduction = Some(LrReduction { until, factor: self.config.lr_factor });
            state.lr_reductions += 1;
        }
    }

    /// Returns the factor on the learning rate of a step.
    pub(crate) fn lr_factor(&self, step: u64) -> f64 {
        self.state
            .lr_reduction
            .filter(|reduction| step <= reduction.until)
            .map_or(1.0, |reduction| reduction.factor)
    }

    /// Returns the number of reductions of the learning rate, if it exceeds `max_lr_reductions`.
    pub(crate) fn too_many_lr_reductions(&self) -> Option<u32> {
        Some(self.state.lr_reductions).filter(|&count| count > self.config.max_lr_reductions)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
mod tests {
    use super::*;

    fn config() -> GuardConfig {
        GuardConfig {
            window: 32,
            loss_spike: OutlierRule { action: GuardAction::Skip, z: 6.0 },
            grad_norm: OutlierRule { action: GuardAction::ReduceLr, z: 6.0 },
            lr_factor: 0.5,
            lr_steps: 3,
            ..GuardConfig::default()
        }
    }

    /// A guard that has recorded `steps` steps with a loss of about 2 and a gradient norm of about 1.
    fn after(steps: u64, config: GuardConfig) -> Guard {
        let mut guard = Guard::new(config, GuardState::default());
        (1..=steps).for_each(|step| {
            let noise = [0.0, 0.01, -0.01, 0.02, -0.02][step as usize % 5];
            judge_and_record(&mut guard, step, 2.0 + noise, 1.0 - noise);
        });
        guard
    }

    fn judge_and_record(guard: &mut Guard, step: u64, loss: f32, grad_norm: f32) -> GuardVerdict {
        let numbers = StepMetrics { step, loss, grad_norm };
        let verdict = guard.judge(&numbers);
        guard.record(&numbers, &verdict);
        verdict
    }

    #[test]
    fn a_spike_raises_an_alarm_with_evidence_and_a_drop_does_not() {
        let mut guard = after(30, config());
        assert_eq!(judge_and_record(&mut guard, 31, 0.5, 0.1), GuardVerdict::default());
        let verdict = judge_and_record(&mut guard, 32, 3.0, 1.0);
        assert_eq!(verdict.skipped, Some(SkipReason::LossSpike));
        let alarm = verdict.decisive().unwrap();
        assert_eq!((alarm.at, alarm.rule, alarm.count), (32, GuardRule::LossSpike, 1));
        let (median, scale) = (alarm.median.unwrap(), alarm.scale.unwrap());
        assert!((median - 2.0).abs() < 1e-6 && (scale - 1.4826 * 0.01).abs() < 1e-3, "{alarm:?}");
        assert!((alarm.z.unwrap() - 1.0 / scale).abs() < 1e-9);
        assert_eq!(judge_and_record(&mut guard, 33, 3.0, 1.0).alarms[0].count, 2);
    }

    #[test]
    fn too_few_steps_raise_no_alarm() {
        let mut young = after(19, config());
        assert_eq!(judge_and_record(&mut young, 20, 300.0, 300.0), GuardVerdict::default());
        let mut old = after(20, config());
        assert_eq!(judge_and_record(&mut old, 21, 300.0, 300.0).alarms.len(), 2);
    }

    #[test]
    fn the_strongest_action_is_taken() {
        let mut guard = after(30, config());
        let verdict = judge_and_record(&mut guard, 31, 3.0, 30.0);
        assert_eq!(verdict.alarms.len(), 2);
        assert_eq!(verdict.action(), Some(GuardAction::Skip));
        assert_eq!(guard.lr_factor(32), 1.0);
        let verdict = judge_and_record(&mut guard, 32, 2.0, 30.0);
        assert_eq!((verdict.action(), verdict.skipped), (Some(GuardAction::ReduceLr), None));
        let factors: Vec<f64> = (32..=36).map(|step| guard.lr_factor(step)).collect();
        assert_eq!(factors, [0.5, 0.5, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn non_finite_steps_are_skipped_whatever_the_action() {
        for action in [
            GuardAction::Skip,
            GuardAction::SkipData,
            GuardAction::Rewind,
            GuardAction::ReduceLr,
            GuardAction::Stop,
        ] {
            let mut guard = after(30, GuardConfig { non_finite: NonFiniteRule { action }, ..config() });
            let before = guard.state.losses.clone();
            let verdict = judge_and_record(&mut guard, 31, f32::NAN, 1.0);
            assert_eq!(verdict.skipped, Some(SkipReason::NonFiniteLoss));
            assert_eq!(verdict.action(), Some(action));
            assert_eq!(guard.state.losses, before, "a non-finite loss is not part of the baseline");
            let verdict = judge_and_record(&mut guard, 32, 2.0, f32::INFINITY);
            assert_eq!(verdict.skipped, Some(SkipReason::NonFiniteGradient));
        }
    }

    #[test]
    fn the_action_log_changes_nothing() {
        let mut guard = after(30, GuardConfig { window: 32, ..GuardConfig::default() });
        let verdict = judge_and_record(&mut guard, 31, 30.0, 30.0);
        assert_eq!((verdict.alarms.len(), verdict.skipped), (2, None));
    }

    #[test]
    fn the_state_round_trips_through_json() {
        let mut guard = after(40, config());
        judge_and_record(&mut guard, 41, 2.0, 30.0);
        let text = serde_json::to_string(&guard.state).unwrap();
        assert_eq!(serde_json::from_str::<GuardState>(&text).unwrap(), guard.state);
    }

    #[test]
    fn lr_reductions_are_bounded() {
        let mut guard = after(30, GuardConfig { max_lr_reductions: 1, ..config() });
        judge_and_record(&mut guard, 31, 2.0, 30.0);
        assert_eq!(guard.too_many_lr_reductions(), None);
        judge_and_record(&mut guard, 32, 2.0, 30.0);
        assert_eq!(guard.too_many_lr_reductions(), Some(2));
    }
}
