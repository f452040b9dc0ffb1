//! Phases of a task's curve, from the series of its estimates.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::estimate::{Estimate, is_above};

/// Phase of a task's curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Accuracy can't be distinguished from chance.
    Chance,
    /// The score increases.
    Rising,
    /// No change that is detectable with this number of items.
    Plateau,
    /// The score decreases.
    Regressing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Chance => "chance",
            Self::Rising => "rising",
            Self::Plateau => "plateau",
            Self::Regressing => "regressing",
        })
    }
}

/// One evaluation of a task, as input of [`phases`].
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// Continuous score that the trend is computed from. Higher is better (negate a loss with
    /// [`Estimate::scaled`]). Accuracy moves late and in jumps. A probability or likelihood shows the same
    /// change earlier.
    pub score: Estimate,
    /// Accuracy to compare with chance. Unknown if the task has none.
    pub accuracy: Estimate,
}

/// Thresholds of [`phases`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseRules {
    /// Number of observations that the trend is computed over.
    pub window: usize,
    /// A trend starts when the slope is at least this many standard errors from 0.
    pub enter_z: f64,
    /// A trend ends when the slope is fewer than this many standard errors from 0.
    pub exit_z: f64,
    /// Number of consecutive observations that confirm leaving chance, or returning to it.
    pub confirm: usize,
}

impl Default for PhaseRules {
    fn default() -> Self {
        Self { window: 4, enter_z: 2.0, exit_z: 1.0, confirm: 2 }
    }
}

/// Returns the phase of a task at each of its observations.
///
/// 1. A task with a `chance` level starts at chance. It leaves chance when the interval of its accuracy was
///    entirely above that level in `confirm` consecutive observations, and returns when it wasn't in
///    `confirm` consecutive observations. At chance, rule 2 doesn't apply.
/// 2. Otherwise the phase follows from the least-squares slope of the last `window` scores over their index,
///    in units of its standard error (propagated from those of the scores). Beyond ±`enter_z`, the task is
///    rising or regressing. It stays so until the slope is within ±`exit_z`, or beyond the opposite
///    threshold. Otherwise it is on a plateau.
/// 3. Observations with an unknown score are skipped, and the phase doesn't change. With fewer than two known
///    scores there is no trend, and the phase of a task without a chance level is unknown.
///
/// All evaluations use the same items, so the errors of the scores are correlated, and their differences are
/// more certain than rule 2 assumes. It therefore errs towards "plateau".
#[must_use]
pub fn phases(series: &[Observation], chance: Option<f64>, rules: &PhaseRules) -> Vec<Option<Phase>> {
    let mut at_chance = chance.is_some();
    let mut contrary = 0;
    let mut trend = None;
    let mut scores = Vec::new();
    let mut phases = Vec::with_capacity(series.len());
    for observation in series {
        if let Some(above) = chance.and_then(|level| is_above(&observation.accuracy, level)) {
            contrary = if above == at_chance { contrary + 1 } else { 0 };
            if contrary >= rules.confirm {
                at_chance = !at_chance;
                contrary = 0;
            }
        }
        if let (Some(value), Some(stderr)) = (observation.score.value, observation.score.stderr) {
            scores.push((value, stderr));
            let window = &scores[scores.len().saturating_sub(rules.window)..];
            trend = slope_z(window).map(|z| turn(trend, z, rules)).or(trend);
        }
        phases.push(if at_chance { Some(Phase::Chance) } else { trend });
    }
    phases
}

/// Rule 2: returns the trend after a slope of `z` standard errors.
fn turn(trend: Option<Phase>, z: f64, rules: &PhaseRules) -> Phase {
    match trend {
        _ if z >= rules.enter_z => Phase::Rising,
        _ if z <= -rules.enter_z => Phase::Regressing,
        Some(Phase::Rising) if z >= rules.exit_z => Phase::Rising,
        Some(Phase::Regressing) if z <= -rules.exit_z => Phase::Regressing,
        _ => Phase::Plateau,
    }
}

/// Least-squares slope of `(value, stderr)` over their index, in its own standard errors. `None` for fewer
/// than two.
fn slope_z(scores: &[(f64, f64)]) -> Option<f64> {
    if scores.len() < 2 {
        return None;
    }
    let middle = (scores.len() - 1) as f64 / 2.0;
    let offset = |i: usize| i as f64 - middle;
    let slope: f64 = scores.iter().enumerate().map(|(i, (value, _))| offset(i) * value).sum();
    let variance: f64 = scores.iter().enumerate().map(|(i, (_, stderr))| (offset(i) * stderr).powi(2)).sum();
    Some(if slope == 0.0 { 0.0 } else { slope / variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Chance, Plateau, Regressing, Rising};

    fn estimate(value: f64, stderr: f64) -> Estimate {
        let margin = 2.0 * stderr;
        Estimate {
            value: Some(value),
            stderr: Some(stderr),
            lo: Some(value - margin),
            hi: Some(value + margin),
        }
    }

    /// A task whose score is its accuracy, with a standard error of 0.02.
    fn accuracy(values: &[f64], chance: f64) -> Vec<Phase> {
        let series: Vec<Observation> = values
            .iter()
            .map(|&value| Observation { score: estimate(value, 0.02), accuracy: estimate(value, 0.02) })
            .collect();
        phases(&series, Some(chance), &PhaseRules::default()).into_iter().map(Option::unwrap).collect()
    }

    /// A loss (as a negated score) without a chance level.
    fn score(values: &[f64], stderr: f64) -> Vec<Option<Phase>> {
        let series: Vec<Observation> = values
            .iter()
            .map(|&value| Observation { score: estimate(value, stderr), accuracy: Estimate::UNKNOWN })
            .collect();
        phases(&series, None, &PhaseRules::default())
    }

    #[test]
    fn a_curve_goes_through_its_phases() {
        let curve = [0.25, 0.26, 0.24, 0.4, 0.55, 0.7, 0.8, 0.8, 0.8, 0.8, 0.81, 0.7, 0.6, 0.5];
        let expected = [
            Chance, Chance, Chance, Chance, Rising, Rising, Rising, Rising, Rising, Plateau, Plateau,
            Regressing, Regressing, Regressing,
        ];
        assert_eq!(accuracy(&curve, 0.25), expected);
    }

    #[test]
    fn one_lucky_probe_does_not_leave_chance() {
        assert_eq!(accuracy(&[0.25, 0.35, 0.25, 0.35, 0.25], 0.25), [Chance; 5]);
    }

    #[test]
    fn one_unlucky_probe_does_not_fall_back_to_chance() {
        let phases = accuracy(&[0.5, 0.5, 0.25, 0.5, 0.5], 0.25);
        assert!(phases[1..].iter().all(|&phase| phase != Chance), "{phases:?}");
        assert_eq!(accuracy(&[0.5, 0.5, 0.25, 0.25], 0.25)[3], Chance);
    }

    #[test]
    fn a_trend_holds_between_its_two_thresholds() {
        // A slope of 1.5 standard errors doesn't start a trend, but keeps one.
        let rules = PhaseRules::default();
        assert_eq!(turn(None, 1.5, &rules), Plateau);
        assert_eq!(turn(Some(Rising), 1.5, &rules), Rising);
        assert_eq!(turn(Some(Rising), 0.9, &rules), Plateau);
        assert_eq!(turn(Some(Rising), -1.5, &rules), Plateau);
        assert_eq!(turn(Some(Rising), -2.0, &rules), Regressing);
        assert_eq!(turn(Some(Regressing), -1.0, &rules), Regressing);
    }

    #[test]
    fn without_a_chance_level_the_trend_alone_speaks() {
        assert_eq!(score(&[-5.0, -4.0, -3.0], 0.1), [None, Some(Rising), Some(Rising)]);
        assert_eq!(score(&[-5.0, -5.01], 0.1), [None, Some(Plateau)]);
    }

    #[test]
    fn unknown_scores_are_passed_over() {
        assert_eq!(score(&[], 0.1), []);
        let known = |value| Observation { score: estimate(value, 0.1), accuracy: Estimate::UNKNOWN };
        let unknown = Observation { score: Estimate::UNKNOWN, accuracy: Estimate::UNKNOWN };
        let series = [unknown, known(1.0), unknown, known(2.0), unknown];
        let expected = [None, None, None, Some(Rising), Some(Rising)];
        assert_eq!(phases(&series, None, &PhaseRules::default()), expected);
        assert_eq!(phases(&[unknown], Some(0.5), &PhaseRules::default()), [Some(Chance)]);
    }

    #[test]
    fn phases_read_in_text_as_in_files() {
        for phase in [Chance, Rising, Plateau, Regressing] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.to_string());
        }
    }

    #[test]
    fn scores_without_error_move_at_once() {
        assert_eq!(score(&[1.0, 1.0, 1.5], 0.0), [None, Some(Plateau), Some(Rising)]);
    }
}
