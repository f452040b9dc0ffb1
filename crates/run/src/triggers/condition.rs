//! Conditions of triggers.

use fineline_dynamics::{Estimate, Phase};
use fineline_probe::{Delta, ProbeRecord, higher_is_better, primary_metric};

use crate::config::{TriggerBaseline, TriggerConfig};
use crate::records::trigger_evidence::TriggerEvidence;

/// Quantile of the normal distribution for a 95 % interval.
const Z_95: f64 = 1.959_964;

/// Evaluates the condition of `trigger` on a line of the probe log. `before` is the task's phase in the
/// previous round. Returns the evidence if it holds.
pub(super) fn evidence(
    trigger: &TriggerConfig,
    record: &ProbeRecord,
    before: Option<Phase>,
) -> Option<TriggerEvidence> {
    if let Some(phase) = trigger.phase {
        let comes = record.phase == Some(phase) && before != Some(phase);
        return comes.then(|| TriggerEvidence {
            metric: "phase".to_owned(),
            value: None,
            lo: None,
            hi: None,
            limit: None,
            since: None,
            phase: Some(phase),
        });
    }
    if let Some(by) = trigger.worsens {
        let delta = match trigger.against {
            TriggerBaseline::Previous => record.delta.as_ref(),
            TriggerBaseline::Best => record.best.as_ref(),
        }?;
        return worsening(delta, by);
    }
    let metric = trigger.metric.as_ref().unwrap_or(&record.primary_metric);
    let estimate = match &trigger.metric {
        Some(metric) => record.metrics.get(metric).copied()?,
        None => primary_metric(record),
    };
    beyond(metric, &estimate, trigger)
}

fn worsening(delta: &Delta, by: f64) -> Option<TriggerEvidence> {
    let sign = if higher_is_better(&delta.metric) { -1.0 } else { 1.0 };
    let worse = sign * delta.difference.value?;
    let margin = Z_95 * delta.difference.stderr?;
    (worse - margin > by).then(|| TriggerEvidence {
        metric: delta.metric.clone(),
        value: Some(worse),
        lo: Some(worse - margin),
        hi: Some(worse + margin),
        limit: Some(by),
        since: Some(delta.step),
        phase: None,
    })
}

fn beyond(metric: &str, estimate: &Estimate, trigger: &TriggerConfig) -> Option<TriggerEvidence> {
    let (lo, hi) = (estimate.lo?, estimate.hi?);
    let above = trigger.above.filter(|&limit| lo > limit);
    let limit = above.or_else(|| trigger.below.filter(|&limit| hi < limit))?;
    Some(TriggerEvidence {
        metric: metric.to_owned(),
        value: estimate.value,
        lo: Some(lo),
        hi: Some(hi),
        limit: Some(limit),
        since: None,
        phase: None,
    })
}

#[cfg(test)]
mod tests {
    use fineline_dynamics::PairedDifference;

    use super::*;

    fn trigger(toml: &str) -> TriggerConfig {
        toml::from_str(&format!("name = \"t\"\ntask = \"a\"\n{toml}")).unwrap()
    }

    fn estimate(value: f64, stderr: f64) -> Estimate {
        Estimate {
            value: Some(value),
            stderr: Some(stderr),
            lo: Some(value - 2.0 * stderr),
            hi: Some(value + 2.0 * stderr),
        }
    }

    fn record(primary_metric: &str, change: f64, stderr: f64) -> ProbeRecord {
        let delta = Delta {
            metric: primary_metric.to_owned(),
            step: 10,
            before: None,
            n: 100,
            difference: PairedDifference { value: Some(change), stderr: Some(stderr), p: None },
        };
        ProbeRecord {
            primary_metric: primary_metric.to_owned(),
            metrics: [(primary_metric.to_owned(), estimate(0.5, 0.05))].into(),
            delta: Some(delta.clone()),
            best: Some(Delta {
                step: 5,
                difference: PairedDifference { value: Some(2.0 * change), ..delta.difference },
                ..delta
            }),
            phase: Some(Phase::Plateau),
            ..ProbeRecord::default()
        }
    }

    fn holds(toml: &str, record: &ProbeRecord) -> bool {
        evidence(&trigger(toml), record, None).is_some()
    }

    #[test]
    fn a_change_for_the_worse_takes_its_whole_interval() {
        // 0.05 down, with a margin of 0.02: certainly worse, but not certainly by 0.03 or more.
        let falls = record("acc", -0.05, 0.01);
        assert!(holds("worsens = 0.0", &falls) && holds("worsens = 0.03", &falls));
        assert!(!holds("worsens = 0.031", &falls));
        assert!(holds("worsens = 0.08\nagainst = \"best\"", &falls));
        assert!(!holds("worsens = 0.0", &record("acc", 0.05, 0.01)), "it got better");
        assert!(!holds("worsens = 0.0", &record("acc", -0.05, 0.03)), "it may be noise");
        // For bits per byte, higher is worse.
        assert!(holds("worsens = 0.0", &record("bits_per_byte", 0.05, 0.01)));
        assert!(!holds("worsens = 0.0", &record("bits_per_byte", -0.05, 0.01)));
        assert!(!holds("worsens = 0.0", &ProbeRecord::default()), "nothing is known");
    }

    #[test]
    fn values_take_their_whole_interval() {
        let record = record("acc", 0.0, 0.0);
        assert!(holds("above = 0.39", &record) && !holds("above = 0.41", &record));
        assert!(holds("below = 0.61\nmetric = \"acc\"", &record) && !holds("below = 0.59", &record));
        assert!(!holds("above = 0.0\nmetric = \"f1\"", &record));
    }

    #[test]
    fn a_phase_is_come_into_once() {
        let (flat, record) = (trigger("phase = \"plateau\""), record("acc", 0.0, 0.0));
        assert!(evidence(&flat, &record, None).is_some());
        assert!(evidence(&flat, &record, Some(Phase::Rising)).is_some());
        assert!(evidence(&flat, &record, Some(Phase::Plateau)).is_none());
        assert!(!holds("phase = \"regressing\"", &record));
    }
}
