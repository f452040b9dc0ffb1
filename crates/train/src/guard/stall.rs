use std::collections::VecDeque;

use super::window::median;
use super::{Action, Alarm, GuardConfig, Rule};

/// Watches how long steps take. The clock is no part of a run's state, so this begins anew with each process.
#[derive(Clone, Debug)]
pub(crate) struct StallWatch {
    factor: f64,
    window: usize,
    seconds: VecDeque<f64>,
    count: u32,
}

/// Steps that it takes to know what is usual.
const LEAST_STEPS: usize = 5;

/// What is shorter is no stall: a busy machine does that to steps of milliseconds.
const LEAST_SECONDS: f64 = 1.0;

impl StallWatch {
    pub(crate) fn new(config: &GuardConfig) -> Self {
        let (factor, window) = (config.stall.factor, config.window.max(LEAST_STEPS));
        Self { factor, window, seconds: VecDeque::new(), count: 0 }
    }

    /// Looks at the seconds of a step.
    pub(crate) fn look(&mut self, step: u64, seconds: f64) -> Option<Alarm> {
        let mut past: Vec<f64> = self.seconds.iter().copied().collect();
        self.seconds.push_back(seconds);
        if self.seconds.len() > self.window {
            self.seconds.pop_front();
        }
        if past.len() < LEAST_STEPS {
            return None;
        }
        let median = median(&mut past);
        let threshold = (self.factor * median).max(LEAST_SECONDS);
        if seconds <= threshold {
            return None;
        }
        self.count += 1;
        Some(Alarm {
            at: step,
            rule: Rule::Stall,
            action: Action::Log,
            value: Some(seconds),
            median: Some(median),
            scale: None,
            z: None,
            threshold: Some(threshold),
            count: self.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_far_above_the_median_is_told() {
        let mut watch = StallWatch::new(&GuardConfig::default());
        assert!((1..=5).all(|step| watch.look(step, 1.0).is_none()));
        assert!(watch.look(6, 9.0).is_none());
        let alarm = watch.look(7, 11.0).unwrap();
        assert_eq!((alarm.value, alarm.median, alarm.threshold), (Some(11.0), Some(1.0), Some(10.0)));
        assert_eq!((alarm.action, alarm.count), (Action::Log, 1));
    }

    #[test]
    fn short_steps_do_not_stall() {
        let mut watch = StallWatch::new(&GuardConfig::default());
        (1..=5).for_each(|step| assert!(watch.look(step, 0.001).is_none()));
        assert!(watch.look(6, 0.9).is_none());
        assert!(watch.look(7, 1.1).is_some());
    }

    #[test]
    fn the_first_steps_are_no_measure() {
        let mut watch = StallWatch::new(&GuardConfig::default());
        assert!(watch.look(1, 0.001).is_none() && watch.look(2, 100.0).is_none());
    }
}
