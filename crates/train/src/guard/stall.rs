//! Steps that take too long, found after they end and while they run.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::alarm::{GuardAction, GuardAlarm, GuardRule};
use crate::guard::config::GuardConfig;
use crate::guard::window::median;

/// Compares the duration of each step with those before. The clock isn't part of a run's state, so each
/// process starts over.
#[derive(Clone, Debug)]
pub(crate) struct StallDetector {
    factor: f64,
    window: usize,
    seconds: VecDeque<f64>,
    count: u32,
}

/// Number of steps before durations are compared.
const MIN_STEPS: usize = 5;

/// The shortest stall. On a busy machine, steps of milliseconds vary by large factors.
const MIN_STALL_S: f64 = 1.0;

impl StallDetector {
    pub(crate) fn new(config: &GuardConfig) -> Self {
        let (factor, window) = (config.stall.factor, config.window.max(MIN_STEPS));
        Self { factor, window, seconds: VecDeque::new(), count: 0 }
    }

    /// Returns the time limit of the next step. `None` until enough steps have been recorded.
    pub(crate) fn limit(&self) -> Option<StepLimit> {
        if self.seconds.len() < MIN_STEPS {
            return None;
        }
        let median_s = median(&mut self.seconds.iter().copied().collect::<Vec<_>>());
        Some(StepLimit { median: median_s, seconds: (self.factor * median_s).max(MIN_STALL_S) })
    }

    /// Records the duration of a step. Returns an alarm if it exceeds the limit.
    pub(crate) fn record(&mut self, step: u64, seconds: f64) -> Option<GuardAlarm> {
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

/// The time limit of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLimit {
    /// The median of the preceding steps, in seconds.
    pub median: f64,
    /// The limit, in seconds.
    pub seconds: f64,
}

/// The running step, visible to other threads: a step that hangs never ends, so it must be reported while it
/// runs.
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
    /// Seconds since it started.
    pub seconds: f64,
    /// Its time limit.
    pub limit: StepLimit,
}

impl StepClock {
    /// Returns the running step if it has exceeded its limit.
    #[must_use]
    pub fn late(&self) -> Option<LateStep> {
        let TimedStep { step, start, limit } = (*self.lock())?;
        let seconds = start.elapsed().as_secs_f64();
        (seconds > limit.seconds).then_some(LateStep { step, seconds, limit })
    }

    /// Marks the start of a step. Without a limit, the step is never late.
    pub(crate) fn start(&self, step: u64, limit: Option<StepLimit>) {
        *self.lock() = limit.map(|limit| TimedStep { step, start: Instant::now(), limit });
    }

    /// Marks the end of the running step.
    pub(crate) fn finish(&self) {
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
    fn a_step_far_above_the_median_raises_an_alarm() {
        let mut detector = StallDetector::new(&GuardConfig::default());
        assert!((1..=5).all(|step| detector.record(step, 1.0).is_none()));
        assert!(detector.record(6, 9.0).is_none());
        let alarm = detector.record(7, 11.0).unwrap();
        assert_eq!((alarm.value, alarm.median, alarm.threshold), (Some(11.0), Some(1.0), Some(10.0)));
        assert_eq!((alarm.action, alarm.count), (GuardAction::Log, 1));
    }

    #[test]
    fn short_steps_do_not_stall() {
        let mut detector = StallDetector::new(&GuardConfig::default());
        (1..=5).for_each(|step| assert!(detector.record(step, 0.001).is_none()));
        assert!(detector.record(6, 0.9).is_none());
        assert!(detector.record(7, 1.1).is_some());
    }

    #[test]
    fn a_step_is_late_before_it_ends() {
        let clock = StepClock::default();
        let limit = StepLimit { median: 0.0001, seconds: 0.001 };
        assert_eq!(clock.late(), None);
        clock.start(7, None);
        assert_eq!(clock.late(), None);
        clock.start(8, Some(StepLimit { seconds: 1e6, ..limit }));
        assert_eq!(clock.late(), None);
        clock.start(9, Some(limit));
        std::thread::sleep(std::time::Duration::from_millis(2));
        let late = clock.late().unwrap();
        assert_eq!((late.step, late.limit), (9, limit));
        assert!(late.seconds >= 0.002);
        clock.finish();
        assert_eq!(clock.late(), None);
    }

    #[test]
    fn the_first_steps_raise_no_alarm() {
        let mut detector = StallDetector::new(&GuardConfig::default());
        assert!(detector.record(1, 0.001).is_none() && detector.record(2, 100.0).is_none());
    }
}
