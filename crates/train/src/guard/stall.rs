//! Steps that take too long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::alarm::{GuardAction, GuardAlarm, GuardRule};
use crate::guard::config::GuardConfig;
use crate::guard::window::median;

/// Watches how long steps take. The clock is no part of a run's state, so this begins anew with each process.
#[derive(Clone, Debug)]
pub(crate) struct StallDetector {
    factor: f64,
    window: usize,
    seconds: VecDeque<f64>,
    count: u32,
}

/// Steps that it takes to know what is usual.
const LEAST_STEPS: usize = 5;

/// What is shorter is no stall: a busy machine does that to steps of milliseconds.
const LEAST_SECONDS: f64 = 1.0;

impl StallDetector {
    pub(crate) fn new(config: &GuardConfig) -> Self {
        let (factor, window) = (config.stall.factor, config.window.max(LEAST_STEPS));
        Self { factor, window, seconds: VecDeque::new(), count: 0 }
    }

    /// How long the next step may take, if it is known by now.
    pub(crate) fn limit(&self) -> Option<StepLimit> {
        if self.seconds.len() < LEAST_STEPS {
            return None;
        }
        let median = median(&mut self.seconds.iter().copied().collect::<Vec<_>>());
        Some(StepLimit { median, seconds: (self.factor * median).max(LEAST_SECONDS) })
    }

    /// Looks at the seconds of a step.
    pub(crate) fn look(&mut self, step: u64, seconds: f64) -> Option<GuardAlarm> {
        let limit = self.limit();
        self.seconds.push_back(seconds);
        if self.seconds.len() > self.window {
            self.seconds.pop_front();
        }
        let limit = limit.filter(|limit| seconds > limit.seconds)?;
        self.count += 1;
        Some(GuardAlarm {
            at: step,
            rule: GuardRule::Stall,
            action: GuardAction::Log,
            value: Some(seconds),
            median: Some(limit.median),
            scale: None,
            z: None,
            threshold: Some(limit.seconds),
            count: self.count,
        })
    }
}

/// How long a step may take before it is a stall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLimit {
    /// The median of the steps before, in seconds.
    pub median: f64,
    /// The limit, in seconds.
    pub seconds: f64,
}

/// The step being made, as other threads see it: a step that hangs never comes to an end at which it could be told of.
#[derive(Debug, Default)]
pub struct StepClock(Mutex<Option<TimedStep>>);

#[derive(Clone, Copy, Debug)]
struct TimedStep {
    step: u64,
    start: Instant,
    limit: StepLimit,
}

/// A step that has taken longer than its limit so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LateStep {
    /// The step.
    pub step: u64,
    /// Seconds since it began.
    pub seconds: f64,
    /// What it was given.
    pub limit: StepLimit,
}

impl StepClock {
    /// The step being made, if it is late.
    #[must_use]
    pub fn late(&self) -> Option<LateStep> {
        let TimedStep { step, start, limit } = (*self.lock())?;
        let seconds = start.elapsed().as_secs_f64();
        (seconds > limit.seconds).then_some(LateStep { step, seconds, limit })
    }

    /// Without a limit, nothing is watched.
    pub(crate) fn begin(&self, step: u64, limit: Option<StepLimit>) {
        *self.lock() = limit.map(|limit| TimedStep { step, start: Instant::now(), limit });
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<TimedStep>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_far_above_the_median_is_told() {
        let mut watch = StallDetector::new(&GuardConfig::default());
        assert!((1..=5).all(|step| watch.look(step, 1.0).is_none()));
        assert!(watch.look(6, 9.0).is_none());
        let alarm = watch.look(7, 11.0).unwrap();
        assert_eq!((alarm.value, alarm.median, alarm.threshold), (Some(11.0), Some(1.0), Some(10.0)));
        assert_eq!((alarm.action, alarm.count), (GuardAction::Log, 1));
    }

    #[test]
    fn short_steps_do_not_stall() {
        let mut watch = StallDetector::new(&GuardConfig::default());
        (1..=5).for_each(|step| assert!(watch.look(step, 0.001).is_none()));
        assert!(watch.look(6, 0.9).is_none());
        assert!(watch.look(7, 1.1).is_some());
    }

    #[test]
    fn a_step_is_late_before_it_ends() {
        let clock = StepClock::default();
        let limit = StepLimit { median: 0.0001, seconds: 0.001 };
        assert_eq!(clock.late(), None);
        clock.begin(7, None);
        assert_eq!(clock.late(), None);
        clock.begin(8, Some(StepLimit { seconds: 1e6, ..limit }));
        assert_eq!(clock.late(), None);
        clock.begin(9, Some(limit));
        std::thread::sleep(std::time::Duration::from_millis(2));
        let late = clock.late().unwrap();
        assert_eq!((late.step, late.limit), (9, limit));
        assert!(late.seconds >= 0.002);
        clock.end();
        assert_eq!(clock.late(), None);
    }

    #[test]
    fn the_first_steps_are_no_measure() {
        let mut watch = StallDetector::new(&GuardConfig::default());
        assert!(watch.look(1, 0.001).is_none() && watch.look(2, 100.0).is_none());
    }
}
