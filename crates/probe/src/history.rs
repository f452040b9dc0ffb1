//! What earlier rounds say about a new one: its change, its phase, and the line of `probes.jsonl`.

use std::collections::{BTreeMap, BTreeSet};

use fineline_dynamics::{Difference, Estimate, Observation, Phase, PhaseRules, phases};
use serde::{Deserialize, Serialize};

use crate::ProbeError;
use crate::items::ItemRow;
use crate::metrics::{headline_change, headline_name, items, observation};
use crate::round::TaskResult;
use crate::suite::Provenance;
use crate::task::Kind;

/// A line of `probes.jsonl`: one task at one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Steps made before the round.
    pub step: u64,
    /// Tokens consumed by then.
    pub tokens: u64,
    /// The task.
    pub task: String,
    /// The capability that it belongs to.
    pub domain: String,
    /// How it is scored.
    pub kind: Kind,
    /// Items asked.
    pub n: usize,
    /// Solved examples before each.
    pub shots: usize,
    /// The accuracy of guessing, where there is something to guess among.
    pub chance: Option<f64>,
    /// Each metric with its standard error and 95 % interval.
    pub metrics: BTreeMap<String, Estimate>,
    /// The change since the task's previous round; null in its first.
    pub delta: Option<Delta>,
    /// Where the task stands on its curve; null while that cannot be told.
    pub phase: Option<Phase>,
    /// Items whose context lost tokens on its left to fit.
    pub truncated: usize,
    /// Choices whose log-likelihood is not finite; where there are any, the metrics that need them are null.
    pub not_finite: usize,
    /// Seconds the task took.
    pub seconds: f64,
    /// What the numbers depend on besides the weights.
    pub provenance: Provenance,
}

impl ProbeRecord {
    /// Beginning of the names of tasks that are the validation split of a source.
    pub const VALIDATION: &str = "validation/";

    /// Whether this is a measurement of a validation split rather than a task of a suite.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        self.task.starts_with(Self::VALIDATION)
    }
}

/// A change of a task's headline metric (`acc`, or `bits_per_byte` of perplexity tasks) over the items asked in both rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The metric.
    pub metric: String,
    /// Items in both rounds.
    pub n: usize,
    /// The change: value, standard error, two-sided p-value (exact `McNemar` for accuracies of unclustered items, else a paired t-test).
    #[serde(flatten)]
    pub difference: Difference,
}

/// The metric that stands for the task: its accuracy, or its bits per byte where there is none.
#[must_use]
pub fn headline(record: &ProbeRecord) -> Estimate {
    record.metrics.get(headline_name(record.kind)).copied().unwrap_or_default()
}

/// The change from the rows of one round of a task to those of another, item by item; `None` without common items.
#[must_use]
pub fn change(before: &[ItemRow], after: &[ItemRow]) -> Option<Delta> {
    let kind = after.first()?.kind;
    let before: BTreeMap<u32, &[ItemRow]> = items(before).map(|item| (item[0].item, item)).collect();
    let pairs: Vec<(&[ItemRow], &[ItemRow])> =
        items(after).filter_map(|item| Some((*before.get(&item[0].item)?, item))).collect();
    let difference = headline_change(&pairs)?;
    Some(Delta { metric: headline_name(kind).to_owned(), n: pairs.len(), difference })
}

/// The rounds so far of every task of a run.
#[derive(Clone, Debug, Default)]
pub struct History(BTreeMap<String, Past>);

#[derive(Clone, Debug)]
struct Past {
    /// What the observations were made with; with another, a new series begins.
    provenance: Provenance,
    series: Vec<Observation>,
    last: Vec<ItemRow>,
}

impl History {
    /// Before the first round.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The history that `records`, in their order, have left; `items_at(step)` reads the item store of a step.
    pub fn resume<E: From<ProbeError>>(
        records: &[ProbeRecord],
        items_at: impl Fn(u64) -> Result<Vec<ItemRow>, E>,
    ) -> Result<Self, E> {
        let mut history = Self::new();
        let mut last_steps = BTreeMap::new();
        for record in records {
            history.observe(&record.task, record.kind, &record.metrics, &record.provenance);
            last_steps.insert(record.task.as_str(), record.step);
        }
        let steps: BTreeSet<u64> = last_steps.values().copied().collect();
        for step in steps {
            for row in items_at(step)? {
                if last_steps.get(&*row.task) == Some(&step)
                    && let Some(past) = history.0.get_mut(&*row.task)
                {
                    past.last.push(row);
                }
            }
        }
        Ok(history)
    }

    /// Adds a task's result to the history and makes its line.
    pub fn record(&mut self, step: u64, tokens: u64, result: &TaskResult) -> ProbeRecord {
        let past = self.observe(&result.task, result.kind, &result.metrics, &result.provenance);
        let delta = change(&past.last, &result.items);
        past.last.clone_from(&result.items);
        let phase = phases(&past.series, result.chance, &PhaseRules::default()).pop().flatten();
        ProbeRecord {
            step,
            tokens,
            task: result.task.clone(),
            domain: result.domain.clone(),
            kind: result.kind,
            n: result.n,
            shots: result.shots,
            chance: result.chance,
            metrics: result.metrics.clone(),
            delta,
            phase,
            truncated: result.truncated,
            not_finite: result.not_finite,
            seconds: result.seconds,
            provenance: result.provenance.clone(),
        }
    }

    fn observe(
        &mut self,
        task: &str,
        kind: Kind,
        metrics: &BTreeMap<String, Estimate>,
        provenance: &Provenance,
    ) -> &mut Past {
        let start = || Past { provenance: provenance.clone(), series: Vec::new(), last: Vec::new() };
        let past = self.0.entry(task.to_owned()).or_insert_with(start);
        if past.provenance != *provenance {
            *past = start();
        }
        past.series.push(observation(kind, metrics));
        past
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::tests::row;
    use crate::metrics::metrics;

    fn result(task: &str, answers: &[(u32, bool)]) -> TaskResult {
        let items: Vec<ItemRow> = answers
            .iter()
            .flat_map(|&(item, right)| {
                let scores = if right { [-1.0, -2.0] } else { [-2.0, -1.0] };
                [0, 1].map(|choice| ItemRow {
                    task: task.into(),
                    ..row(Kind::MultipleChoice, item, choice, 0, scores[choice as usize])
                })
            })
            .collect();
        TaskResult {
            task: task.to_owned(),
            domain: "testing".to_owned(),
            version: None,
            kind: Kind::MultipleChoice,
            n: answers.len(),
            total: 100,
            shots: 0,
            chance: Some(0.5),
            metrics: metrics(&items),
            items,
            truncated: 0,
            not_finite: 0,
            seconds: 0.25,
            provenance: Provenance::for_tests("a"),
        }
    }

    fn answers(n: u32, right: impl Fn(u32) -> bool) -> Vec<(u32, bool)> {
        (0..n).map(|item| (item, right(item))).collect()
    }

    #[test]
    fn each_round_is_set_against_the_one_before() {
        let mut history = History::new();
        let first = history.record(0, 0, &result("t", &answers(20, |i| i % 2 == 0)));
        assert_eq!(first.delta, None);
        assert_eq!(first.phase, Some(Phase::Chance));
        let second = history.record(10, 100, &result("t", &answers(20, |i| i % 2 == 0 || i < 12)));
        let delta = second.delta.unwrap();
        assert_eq!((delta.metric.as_str(), delta.n), ("acc", 20));
        assert!((delta.difference.value.unwrap() - 0.3).abs() < 1e-12);
        assert!((delta.difference.p.unwrap() - 2.0 / 64.0).abs() < 1e-12);
        assert_eq!(history.record(20, 200, &result("other", &answers(3, |_| true))).delta, None);
    }

    #[test]
    fn only_items_of_both_rounds_are_compared() {
        let before = result("t", &[(1, true), (3, false), (8, true)]).items;
        let after = result("t", &[(0, true), (3, true), (9, false)]).items;
        let delta = change(&before, &after).unwrap();
        assert_eq!((delta.n, delta.difference.value), (1, Some(1.0)));
        assert_eq!(change(&before, &result("t", &[(5, true)]).items), None);
        assert_eq!(change(&before, &[]), None);
    }

    #[test]
    fn other_data_begins_a_new_series() {
        let mut history = History::new();
        history.record(0, 0, &result("t", &answers(4, |_| true)));
        let changed =
            TaskResult { provenance: Provenance::for_tests("b"), ..result("t", &answers(4, |_| true)) };
        assert_eq!(history.record(1, 1, &changed).delta, None);
    }

    #[test]
    fn a_resumed_history_goes_on_as_the_unbroken_one() {
        let mut history = History::new();
        let rounds =
            [(0, 5), (1, 8), (2, 16), (4, 20)].map(|(step, right)| (step, answers(20, |i| i < right)));
        let mut stores: BTreeMap<u64, Vec<ItemRow>> = BTreeMap::new();
        let mut records = Vec::new();
        for (step, answers) in &rounds {
            for task in if *step == 2 { vec!["t"] } else { vec!["s", "t"] } {
                let result = result(task, answers);
                stores.entry(*step).or_default().extend(result.items.clone());
                records.push(history.record(*step, 0, &result));
            }
        }
        let lines: Vec<String> =
            records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let read: Vec<ProbeRecord> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, records);
        for cut in 0..=records.len() {
            let mut resumed =
                History::resume(&read[..cut], |step| Ok::<_, ProbeError>(stores[&step].clone())).unwrap();
            for record in &records[cut..] {
                let answers = &rounds.iter().find(|(step, _)| *step == record.step).unwrap().1;
                assert_eq!(resumed.record(record.step, 0, &result(&record.task, answers)), *record);
            }
        }
    }

    #[test]
    fn a_line_has_the_documented_fields() {
        let mut history = History::new();
        history.record(0, 0, &result("t", &answers(4, |_| true)));
        let line = serde_json::to_value(history.record(1, 32, &result("t", &answers(4, |i| i > 0)))).unwrap();
        for field in [
            "step", "tokens", "task", "domain", "n", "shots", "chance", "metrics", "delta", "phase",
            "seconds",
        ] {
            assert!(line.get(field).is_some(), "{field}");
        }
        for field in ["value", "stderr", "p"] {
            assert!(line["delta"][field].is_number(), "{field}");
        }
        assert_eq!(line["phase"], "chance");
        for field in ["value", "stderr", "lo", "hi"] {
            assert!(line["metrics"]["acc"][field].is_number(), "{field}");
        }
        assert!(line["provenance"]["data"].is_string());
    }
}
