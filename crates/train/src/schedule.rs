//! The learning rate of each step.

use std::f64::consts::PI;

use fineline_diagnostics::{Checker, ConfigSection, Key, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The `[schedule]` section: the learning rate over the run, from `optim.lr` to its floor.
///
/// Every kind has three phases: a linear warm-up until `warmup_steps`, the peak, and a decay from
/// `decay_start` to `decay_end`. Kinds differ in the shape of the decay and in the default of its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// `"cosine"`, `"linear"`, `"wsd"` (warm-up, stable, decay: linear over the last tenth) or `"constant"`.
    pub kind: ScheduleKind,
    /// Number of steps over which the learning rate rises from 0 to `optim.lr`. The first update has a
    /// learning rate of 0, as in the trainers of Hugging Face, EasyLM and Amber.
    pub warmup_steps: u64,
    /// The floor: the learning rate from `decay_end` on.
    pub min_lr: f64,
    /// The step at which the decay starts. Default: `warmup_steps` (cosine, linear), or 90 % of `decay_end`
    /// (wsd).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_start: Option<u64>,
    /// The step at which `min_lr` is reached, counted from the start of training, warm-up included (EasyLM's
    /// `decay_steps`). Default: the length of the run. Set it to run the first part of a longer schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_end: Option<u64>,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { kind: ScheduleKind::Cosine, warmup_steps: 0, min_lr: 0.0, decay_start: None, decay_end: None }
    }
}

impl ConfigSection for ScheduleConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            self.min_lr >= 0.0 && self.min_lr.is_finite(),
            "min_lr",
            self.min_lr,
            "must be at least 0",
        );
    }
}

impl ScheduleConfig {
    /// Checks the section against the peak learning rate (`optim.lr`) and the length of the run.
    pub(crate) fn check_phases(&self, peak: f64, total_steps: u64, checker: &mut Checker<'_>) {
        checker.require(
            (0.0..=peak).contains(&self.min_lr),
            "min_lr",
            self.min_lr,
            format!("must be from 0 to optim.lr = {peak:?}"),
        );
        if self.kind == ScheduleKind::Constant {
            return;
        }
        let decay_end = self.decay_end.unwrap_or(total_steps);
        let end = match self.decay_end {
            Some(_) => "schedule.decay_end",
            None => "the length of the run (train.steps or train.tokens)",
        };
        let warmup_steps = self.warmup_steps;
        if let Some(decay_start) = self.decay_start {
            let message = format!("must not be above schedule.decay_start = {decay_start}");
            checker.require(warmup_steps <= decay_start, "warmup_steps", warmup_steps, message);
            let message = format!("must not be above {decay_end}, {end}");
            checker.require(decay_start <= decay_end, "decay_start", decay_start, message);
        } else if self.kind == ScheduleKind::Wsd {
            let latest = latest_wsd_start(decay_end);
            let message = format!("must not be above {latest}, a tenth before {end}");
            checker.require(warmup_steps <= latest, "warmup_steps", warmup_steps, message);
        } else {
            let message = format!("must not be above {decay_end}, {end}");
            checker.require(warmup_steps <= decay_end, "warmup_steps", warmup_steps, message);
        }
    }
}

/// Returns the default start of the decay of a WSD schedule: a tenth before its end.
fn latest_wsd_start(decay_end: u64) -> u64 {
    decay_end - decay_end / 10
}

/// The shape of the decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine wave (Loshchilov and Hutter, 2017).
    Cosine,
    /// A linear decay.
    Linear,
    /// Warm-up, stable, decay (Hu et al., 2024): a linear decay at the end of the run.
    Wsd,
    /// No decay.
    Constant,
}

/// A second warm-up for a run that starts from weights without optimizer state: a factor that rises linearly
/// from 0 at the first step to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewarm {
    /// Number of steps done before the first step of this run.
    pub from: u64,
    /// Number of steps over which the factor rises.
    pub steps: u64,
}

/// A resolved schedule: the learning rate of each step.
#[derive(Clone, Debug, PartialEq)]
pub struct LrSchedule {
    rewarm: Option<Rewarm>,
    kind: ScheduleKind,
    peak: f64,
    floor: f64,
    warmup_steps: u64,
    decay_start: u64,
    decay_end: u64,
}

impl LrSchedule {
    /// Resolves the schedule of a run of `total_steps` steps with the peak learning rate `peak` (`optim.lr`).
    ///
    /// # Errors
    /// [`TrainError::Config`] if the phases overlap, or the floor is above the peak.
    pub fn new(config: &ScheduleConfig, peak: f64, total_steps: u64) -> Result<Self, TrainError> {
        let mut problems = Problems::default();
        let mut checker = Checker::new(Key::default().field("schedule"), &mut problems);
        config.check_phases(peak, total_steps, &mut checker);
        problems.into_result()?;

        let &ScheduleConfig { kind, warmup_steps, min_lr: floor, .. } = config;
        if kind == ScheduleKind::Constant {
            return Ok(Self {
                kind,
                peak,
                floor: peak,
                warmup_steps,
                decay_start: u64::MAX,
                decay_end: u64::MAX,
                rewarm: None,
            });
        }
        let decay_end = config.decay_end.unwrap_or(total_steps);
        let decay_start = config.decay_start.unwrap_or(match kind {
            ScheduleKind::Wsd => latest_wsd_start(decay_end),
            _ => warmup_steps,
        });
        Ok(Self { kind, peak, floor, warmup_steps, decay_start, decay_end, rewarm: None })
    }

    /// Returns the same schedule with a second warm-up.
    #[must_use]
    pub fn with_rewarm(self, rewarm: Option<Rewarm>) -> Self {
        Self { rewarm, ..self }
    }

    /// Returns the learning rate of update `step`, counted from 0: the first update of a run has `lr(0)`,
    /// which is 0 if there is a warm-up, and the last of `n` updates has `lr(n - 1)`.
    ///
    /// The values equal those of `torch.optim.lr_scheduler.LambdaLR` stepped after every update.
    #[must_use]
    pub fn lr(&self, step: u64) -> f64 {
        let rewarm_factor = self
            .rewarm
            .filter(|rewarm| rewarm.steps > 0)
            .map_or(1.0, |rewarm| (step.saturating_sub(rewarm.from) as f64 / rewarm.steps as f64).min(1.0));
        rewarm_factor * self.base_lr(step)
    }

    /// Returns the learning rate without the second warm-up.
    fn base_lr(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps as f64;
        }
        if step < self.decay_start {
            return self.peak;
        }
        if step >= self.decay_end {
            return self.floor;
        }
        let progress = (step - self.decay_start) as f64 / (self.decay_end - self.decay_start) as f64;
        let above_floor = match self.kind {
            ScheduleKind::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
            ScheduleKind::Linear | ScheduleKind::Wsd => 1.0 - progress,
            ScheduleKind::Constant => 1.0,
        };
        self.floor + above_floor * (self.peak - self.floor)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
mod tests {
    use super::*;

    fn config(kind: ScheduleKind, warmup_steps: u64, min_lr: f64) -> ScheduleConfig {
        ScheduleConfig { kind, warmup_steps, min_lr, ..ScheduleConfig::default() }
    }

    fn assert_close(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn a_second_warm_up_rises_to_the_schedule() {
        let planned = LrSchedule::new(&config(ScheduleKind::Cosine, 10, 1e-5), 1e-3, 100).unwrap();
        let rewarmed = planned.clone().with_rewarm(Some(Rewarm { from: 50, steps: 4 }));
        for (step, share) in [(50, 0.0), (51, 0.25), (53, 0.75), (54, 1.0), (99, 1.0)] {
            assert_eq!(rewarmed.lr(step), share * planned.lr(step), "{step}");
        }
        let none = planned.clone().with_rewarm(Some(Rewarm { from: 50, steps: 0 }));
        assert_eq!(none.lr(50), planned.lr(50));
    }

    /// Amber's learning rate at the last update of a chunk of 762 steps, from its published schedule.
    #[test]
    fn amber() {
        let schedule = LrSchedule::new(&config(ScheduleKind::Cosine, 2000, 3e-5), 3e-4, 274_320).unwrap();
        for (chunk, lr) in [
            (0, 1.1415e-4),
            (1, 2.2845e-4),
            (2, 2.99999e-4),
            (50, 2.8798e-4),
            (100, 2.5259e-4),
            (200, 1.4175e-4),
            (300, 4.7755e-5),
            (355, 3.0084e-5),
            (359, 3.0000e-5),
        ] {
            assert_close(schedule.lr(762 * (chunk + 1) - 1), lr, 4e-5);
        }
        assert_eq!(schedule.lr(0), 0.0);
        assert_eq!(schedule.lr(2000), 3e-4);
        assert_eq!(schedule.lr(274_320), 3e-5);
        assert_eq!(schedule.lr(u64::MAX), 3e-5);
    }

    /// The values of each kind from `torch.optim.lr_scheduler.LambdaLR`.
    #[test]
    fn as_torch() {
        #[derive(Deserialize)]
        struct Case {
            lr: f64,
            schedule: Reference,
            lrs: Vec<f64>,
        }
        #[derive(Deserialize)]
        struct Reference {
            kind: ScheduleKind,
            warmup_steps: u64,
            min_lr: f64,
            decay_start: Option<u64>,
            /// The end of the decay, under the name of EasyLM and optax.
            decay_steps: u64,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../tests/fixtures/schedule.json")).unwrap();
        assert!(cases.len() >= 5);
        for Case { lr, schedule, lrs } in cases {
            let Reference { kind, warmup_steps, min_lr, decay_start, decay_steps } = schedule;
            let config =
                ScheduleConfig { kind, warmup_steps, min_lr, decay_start, decay_end: Some(decay_steps) };
            let schedule = LrSchedule::new(&config, lr, 1).unwrap();
            for (step, expected) in (0..).zip(lrs) {
                assert!((schedule.lr(step) - expected).abs() <= 1e-12 * expected, "{kind:?}, step {step}");
            }
        }
    }

    #[test]
    fn wsd_is_flat_until_its_last_tenth() {
        let schedule = LrSchedule::new(&config(ScheduleKind::Wsd, 10, 0.1), 1.0, 100).unwrap();
        assert_eq!(schedule.lr(5), 0.5);
        assert!((10..=90).all(|step| schedule.lr(step) == 1.0));
        assert_close(schedule.lr(95), 0.55, 1e-12);
        assert_eq!(schedule.lr(100), 0.1);

        let earlier = ScheduleConfig { decay_start: Some(50), ..config(ScheduleKind::Wsd, 10, 0.1) };
        assert_close(LrSchedule::new(&earlier, 1.0, 100).unwrap().lr(75), 0.55, 1e-12);
    }

    #[test]
    fn constant_never_decays() {
        let schedule = LrSchedule::new(&config(ScheduleKind::Constant, 4, 0.0), 1.0, 8).unwrap();
        assert_eq!(schedule.lr(3), 0.75);
        assert!([4, 8, 1_000_000, u64::MAX].map(|step| schedule.lr(step)).iter().all(|&lr| lr == 1.0));
    }

    #[test]
    fn a_longer_schedule_can_be_run_in_part() {
        let part = ScheduleConfig { decay_end: Some(100), ..config(ScheduleKind::Cosine, 10, 0.0) };
        let whole = config(ScheduleKind::Cosine, 10, 0.0);
        assert_eq!(LrSchedule::new(&part, 1.0, 20).unwrap(), LrSchedule::new(&whole, 1.0, 100).unwrap());
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        let schedule = LrSchedule::new(&config(ScheduleKind::Cosine, 0, 0.0), 1.0, 1).unwrap();
        assert_eq!((schedule.lr(0), schedule.lr(1)), (1.0, 0.0));
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        let error = |config: &ScheduleConfig| LrSchedule::new(config, 1e-3, 100).unwrap_err().to_string();
        assert!(error(&config(ScheduleKind::Cosine, 101, 0.0)).starts_with("schedule.warmup_steps = 101"));
        let late = ScheduleConfig { decay_start: Some(101), ..config(ScheduleKind::Cosine, 1, 0.0) };
        assert!(error(&late).starts_with("schedule.decay_start = 101"));
        assert!(error(&config(ScheduleKind::Wsd, 95, 0.0)).starts_with("schedule.warmup_steps"));
        assert!(error(&config(ScheduleKind::Cosine, 1, 1e-2)).contains("schedule.min_lr"));
        assert!(error(&config(ScheduleKind::Cosine, 1, f64::NAN)).contains("schedule.min_lr"));
    }
}
