//! Comparison of each round with earlier ones: change, phase, and the record of `probes.jsonl`.

use std::collections::{BTreeMap, BTreeSet};

use fineline_dynamics::{
    Observation, PhaseRules, minimum_detectable_effect, minimum_detectable_effect_unpaired, phases,
};

use crate::error::ProbeError;
use crate::items::item_row::ItemRow;
use crate::metrics::{higher_is_better, observation};
use crate::results::comparison::{TaskScores, compare};
use crate::results::group_result::GroupResult;
use crate::results::probe_record::primary_metric;
use crate::results::probe_record::{Delta, ProbeRecord};
use crate::results::task_result::TaskResult;
use crate::tasks::group::{GroupMean, TaskGroup};
use crate::tasks::provenance::Provenance;

/// The rounds so far of every task and group of a run.
#[derive(Clone, Debug, Default)]
pub struct EvaluationHistory(BTreeMap<String, TaskHistory>);

#[derive(Clone, Debug)]
struct TaskHistory {
    /// Provenance of the observations. If it changes, a new series starts.
    provenance: Provenance,
    series: Vec<Observation>,
    last: Option<PastRound>,
    /// The round with the best primary metric. Among equal ones, the first.
    best: Option<PastRound>,
}

/// A round with which later rounds are compared.
#[derive(Clone, Debug)]
struct PastRound {
    step: u64,
    primary_metric: Option<f64>,
    scores: Vec<TaskScores>,
}

impl PastRound {
    fn change_to(
        &self,
        record: &ProbeRecord,
        scores: &[TaskScores],
        mean: Option<GroupMean>,
    ) -> Option<Delta> {
        let (n, difference) = compare(&self.scores, scores, mean)?;
        Some(Delta {
            metric: record.primary_metric.clone(),
            step: self.step,
            before: self.primary_metric,
            n,
            difference,
        })
    }
}

impl TaskHistory {
    fn new(provenance: &Provenance) -> Self {
        Self { provenance: provenance.clone(), series: Vec::new(), last: None, best: None }
    }

    fn rounds(&self) -> impl Iterator<Item = &PastRound> {
        self.last.iter().chain(&self.best)
    }

    /// Sets the item scores of a round, if later rounds are compared with it.
    fn keep_scores(&mut self, step: u64, scores: &[TaskScores]) {
        for round in self.last.iter_mut().chain(&mut self.best).filter(|round| round.step == step) {
            round.scores = scores.to_vec();
        }
    }

    /// Adds a round. Its `scores` may be set later.
    fn add(&mut self, record: &ProbeRecord, scores: Vec<TaskScores>) {
        let round = PastRound { step: record.step, primary_metric: primary_metric(record).value, scores };
        let is_better = |value: f64, best: f64| {
            if higher_is_better(&record.primary_metric) { value > best } else { value < best }
        };
        let is_best = match (round.primary_metric, self.best.as_ref().and_then(|best| best.primary_metric)) {
            (Some(value), Some(best)) => is_better(value, best),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_best {
            self.best = Some(round.clone());
        }
        self.last = Some(round);
    }
}

impl EvaluationHistory {
    /// A history without rounds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores the history from `records` in order. `items_at(step)` reads the item store of a step.
    ///
    /// # Errors
    /// Errors of `items_at`.
    pub fn resume<E: From<ProbeError>>(
        records: &[ProbeRecord],
        items_at: impl Fn(u64) -> Result<Vec<ItemRow>, E>,
    ) -> Result<Self, E> {
        let mut history = Self::new();
        for record in records {
            history.observe(record).add(record, Vec::new());
        }
        // The rounds with which later rounds are compared. Their item scores are read from the item stores.
        let is_kept = |record: &&ProbeRecord| {
            history
                .0
                .get(&record.task)
                .is_some_and(|past| past.rounds().any(|round| round.step == record.step))
        };
        let kept: Vec<&ProbeRecord> = records.iter().filter(is_kept).collect();
        let steps: BTreeSet<u64> = kept.iter().map(|record| record.step).collect();
        for step in steps {
            let rows = items_at(step)?;
            for record in kept.iter().filter(|record| record.step == step) {
                let scores = scores(record, &rows);
                if let Some(past) = history.0.get_mut(&record.task) {
                    past.keep_scores(step, &scores);
                }
            }
        }
        Ok(history)
    }

    /// Adds a round to the history and returns its records: one per task, and one per group whose tasks all
    /// have a result.
    pub fn record_round(
        &mut self,
        step: u64,
        tokens: u64,
        results: &[TaskResult],
        groups: &[TaskGroup],
    ) -> Vec<ProbeRecord> {
        let mut records: Vec<ProbeRecord> =
            results.iter().map(|result| self.record(step, tokens, result)).collect();
        let of_groups = groups.iter().filter_map(|group| {
            let record = ProbeRecord::of_group(step, tokens, group.result(results)?);
            let members = results.iter().filter(|result| group.tasks.contains(&result.task));
            let scores = members.filter_map(|member| {
                TaskScores::new(&member.items, item_metric(&record.primary_metric), member.chance)
            });
            let scores = scores.collect();
            Some(self.complete(record, scores, Some(group.mean)))
        });
        let of_groups: Vec<ProbeRecord> = of_groups.collect();
        records.extend(of_groups);
        records
    }

    /// Adds the result of a task to the history and returns its record.
    pub fn record(&mut self, step: u64, tokens: u64, result: &TaskResult) -> ProbeRecord {
        let record = ProbeRecord::of_task(step, tokens, result);
        let scores = TaskScores::new(&result.items, &record.primary_metric, result.chance);
        self.complete(record, scores.into_iter().collect(), None)
    }

    /// Completes a record with the comparisons to earlier rounds, and adds it to the history. `mean` is that
    /// of a group.
    fn complete(
        &mut self,
        mut record: ProbeRecord,
        scores: Vec<TaskScores>,
        mean: Option<GroupMean>,
    ) -> ProbeRecord {
        let past = self.observe(&record);
        let change = |round: &Option<PastRound>| round.as_ref()?.change_to(&record, &scores, mean);
        let (delta, best) = (change(&past.last), change(&past.best));
        let spread = delta.as_ref().and_then(|delta| delta.difference.stderr);
        // Metrics that are not computed from items, such as similarities between rounds, have no such effect.
        record.min_detectable_effect = minimum_detectable_effect(spread).or_else(|| {
            minimum_detectable_effect_unpaired(&primary_metric(&record)).filter(|_| !scores.is_empty())
        });
        record.phase = phases(&past.series, record.chance, &PhaseRules::default()).pop().flatten();
        (record.delta, record.best) = (delta, best);
        past.add(&record, scores);
        record
    }

    fn observe(&mut self, record: &ProbeRecord) -> &mut TaskHistory {
        let past = self.0.entry(record.task.clone()).or_insert_with(|| TaskHistory::new(&record.provenance));
        if past.provenance != record.provenance {
            *past = TaskHistory::new(&record.provenance);
        }
        past.series.push(match record.kind {
            Some(kind) => observation(kind, &record.metrics),
            None => GroupResult::observation(&record.metrics, &record.primary_metric),
        });
        past
    }
}

/// The scores of a record's tasks, from the item rows of its round.
fn scores(record: &ProbeRecord, rows: &[ItemRow]) -> Vec<TaskScores> {
    let is_member = |rows: &&[ItemRow]| record.tasks().iter().any(|task| **task == *rows[0].task);
    rows.chunk_by(|a, b| a.task == b.task)
        .filter(is_member)
        .filter_map(|rows| TaskScores::new(rows, item_metric(&record.primary_metric), None))
        .collect()
}

/// The metric of the items that a primary metric aggregates.
fn item_metric(primary_metric: &str) -> &str {
    primary_metric.strip_prefix("centred_").unwrap_or(primary_metric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::tests::row;
    use crate::metrics::metrics;
    use crate::tasks::group::GroupMean;
    use crate::tasks::kind::TaskKind;
    use fineline_dynamics::Phase;

    fn result(task: &str, answers: &[(u32, bool)]) -> TaskResult {
        let items: Vec<ItemRow> = answers
            .iter()
            .flat_map(|&(item, right)| {
                let scores = if right { [-1.0, -2.0] } else { [-2.0, -1.0] };
                [0, 1].map(|choice| ItemRow {
                    task: task.into(),
                    ..row(TaskKind::MultipleChoice, item, choice, 0, scores[choice as usize])
                })
            })
            .collect();
        TaskResult {
            task: task.to_owned(),
            domain: "testing".to_owned(),
            version: None,
            kind: TaskKind::MultipleChoice,
            n: answers.len(),
            total: 100,
            shots: 0,
            chance: Some(0.5),
            metrics: metrics(&items),
            items,
            representation: None,
            truncated: 0,
            non_finite: 0,
            seconds: 0.25,
            provenance: Provenance::for_tests("a"),
        }
    }

    fn answers(n: u32, right: impl Fn(u32) -> bool) -> Vec<(u32, bool)> {
        (0..n).map(|item| (item, right(item))).collect()
    }

    #[test]
    fn each_round_is_set_against_the_one_before() {
        let mut history = EvaluationHistory::new();
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
        let change = |before: &[(u32, bool)], after: &[(u32, bool)]| {
            let mut history = EvaluationHistory::new();
            history.record(0, 0, &result("t", before));
            history.record(1, 0, &result("t", after)).delta
        };
        let before = [(1, true), (3, false), (8, true)];
        let delta = change(&before, &[(0, true), (3, true), (9, false)]).unwrap();
        assert_eq!((delta.n, delta.difference.value), (1, Some(1.0)));
        assert_eq!(delta.before, Some(2.0 / 3.0), "of all items of the earlier round");
        assert_eq!(change(&before, &[(5, true)]), None);
    }

    #[test]
    fn each_round_is_set_against_the_best_before_it() {
        let mut history = EvaluationHistory::new();
        let mut round =
            |step: u64, right: u32| history.record(step, 0, &result("t", &answers(20, |i| i < right)));
        assert_eq!(round(0, 5).best, None);
        assert_eq!(round(1, 15).best.unwrap().step, 0);
        assert_eq!(round(2, 9).best.map(|best| (best.step, best.before)), Some((1, Some(0.75))));
        let third = round(3, 12);
        let (best, delta) = (third.best.unwrap(), third.delta.unwrap());
        assert_eq!((best.step, delta.step), (1, 2));
        assert!((best.difference.value.unwrap() + 0.15).abs() < 1e-12);
        assert!((delta.difference.value.unwrap() - 0.15).abs() < 1e-12);
        assert!(best.difference.stderr.is_some() && best.difference.p.is_some());
        round(4, 15);
        assert_eq!(round(5, 15).best.unwrap().step, 1, "of equal rounds the first");
    }

    #[test]
    fn of_a_loss_the_least_is_the_best() {
        let text = |step: u64, nats: f64| {
            let items: Vec<ItemRow> =
                (0..4).map(|item| row(TaskKind::Perplexity, item, 0, 0, -nats - f64::from(item))).collect();
            (
                step,
                TaskResult {
                    kind: TaskKind::Perplexity,
                    chance: None,
                    metrics: metrics(&items),
                    items,
                    ..result("t", &[])
                },
            )
        };
        let mut history = EvaluationHistory::new();
        let records =
            [text(0, 5.0), text(1, 3.0), text(2, 4.0)].map(|(step, result)| history.record(step, 0, &result));
        assert_eq!(records[2].best.as_ref().map(|best| best.step), Some(1));
        assert!(records[2].best.as_ref().unwrap().difference.value > Some(0.0));
    }

    #[test]
    fn the_detectable_effect_is_that_of_the_comparison() {
        let mut history = EvaluationHistory::new();
        let first = history.record(0, 0, &result("t", &answers(20, |i| i % 2 == 0)));
        let unpaired = minimum_detectable_effect_unpaired(&primary_metric(&first));
        assert_eq!(first.min_detectable_effect, unpaired);
        let same = history.record(1, 0, &result("t", &answers(20, |i| i % 2 == 0)));
        assert_eq!(
            (same.delta.unwrap().difference.stderr, same.min_detectable_effect),
            (Some(0.0), unpaired)
        );
        let other = history.record(2, 0, &result("t", &answers(20, |i| i % 2 == 0 || i == 7)));
        assert_eq!(
            other.min_detectable_effect,
            minimum_detectable_effect(other.delta.unwrap().difference.stderr)
        );
        assert!(other.min_detectable_effect < unpaired);
    }

    fn pair() -> [TaskGroup; 2] {
        [("pair", GroupMean::Items), ("centred", GroupMean::Centred)].map(|(name, mean)| TaskGroup {
            name: name.into(),
            tasks: vec!["s".into(), "t".into()],
            mean,
        })
    }

    #[test]
    fn groups_are_lines_of_their_own() {
        let mut history = EvaluationHistory::new();
        let round = |right: u32| {
            [result("s", &answers(10, |i| i < right)), result("t", &answers(30, |i| i < 2 * right))]
        };
        history.record_round(0, 0, &round(3), &pair());
        let records = history.record_round(1, 64, &round(5), &pair());
        let names: Vec<&str> = records.iter().map(|record| record.task.as_str()).collect();
        assert_eq!(names, ["s", "t", "pair", "centred"]);
        let [.., pair, centred] = &records[..] else { panic!() };
        assert!(pair.is_group() && !records[0].is_group());
        assert_eq!((pair.n, pair.kind, pair.primary_metric.as_str()), (40, None, "acc"));
        // (2 + 4) of 40 items. Of the tasks (0.2 + 4/30) / 2, scaled by 1 / (1 − 0.5).
        let change = |record: &ProbeRecord| record.delta.as_ref().unwrap().difference.value.unwrap();
        assert!((change(pair) - 6.0 / 40.0).abs() < 1e-12);
        assert!((change(centred) - (0.2 + 4.0 / 30.0)).abs() < 1e-12);
        let gained = |before: &ProbeRecord| primary_metric(before).value.unwrap();
        let before = centred.delta.as_ref().unwrap().before.unwrap();
        assert!((gained(centred) - before - change(centred)).abs() < 1e-12);
        assert!(pair.min_detectable_effect.is_some() && pair.best.is_some() && pair.phase.is_some());
        let alone = history.record_round(2, 128, &round(5)[..1], &super::tests::pair());
        assert_eq!(alone.len(), 1, "a group without one of its tasks would be another group");
    }

    #[test]
    fn other_data_begins_a_new_series() {
        let mut history = EvaluationHistory::new();
        history.record(0, 0, &result("t", &answers(4, |_| true)));
        let changed =
            TaskResult { provenance: Provenance::for_tests("b"), ..result("t", &answers(4, |_| true)) };
        assert_eq!(history.record(1, 1, &changed).delta, None);
    }

    #[test]
    fn a_resumed_history_goes_on_as_the_unbroken_one() {
        let mut history = EvaluationHistory::new();
        // The best round is neither the first nor the last. In one round, a task is missing.
        let rounds = [(0, 5), (1, 8), (2, 18), (4, 12), (8, 13), (16, 20)]
            .map(|(step, right)| (step, answers(20, |i| i < right)));
        let round = |step: u64, answers: &[(u32, bool)]| -> Vec<TaskResult> {
            let tasks = if step == 4 { vec!["t"] } else { vec!["s", "t"] };
            tasks.into_iter().map(|task| result(task, answers)).collect()
        };
        let mut stores: BTreeMap<u64, Vec<ItemRow>> = BTreeMap::new();
        let mut records = Vec::new();
        for (step, answers) in &rounds {
            let results = round(*step, answers);
            stores.insert(*step, results.iter().flat_map(|result| result.items.clone()).collect());
            records.extend(history.record_round(*step, 0, &results, &pair()));
        }
        assert!(records.iter().any(|record| record.best.as_ref().is_some_and(|best| best.step == 2)));
        let lines: Vec<String> =
            records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let read: Vec<ProbeRecord> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, records);
        for cut in 0..=rounds.len() {
            let is_before =
                |record: &&ProbeRecord| rounds[..cut].iter().any(|(step, _)| *step == record.step);
            let known: Vec<ProbeRecord> = read.iter().filter(is_before).cloned().collect();
            let mut resumed =
                EvaluationHistory::resume(&known, |step| Ok::<_, ProbeError>(stores[&step].clone())).unwrap();
            let later = rounds[cut..]
                .iter()
                .flat_map(|(step, answers)| resumed.record_round(*step, 0, &round(*step, answers), &pair()));
            assert_eq!(later.collect::<Vec<_>>(), records[known.len()..]);
        }
    }

    #[test]
    fn a_line_has_the_documented_fields() {
        let mut history = EvaluationHistory::new();
        history.record(0, 0, &result("t", &answers(4, |_| true)));
        let line = serde_json::to_value(history.record(1, 32, &result("t", &answers(4, |i| i > 0)))).unwrap();
        for field in [
            "step",
            "tokens",
            "task",
            "domain",
            "n",
            "shots",
            "chance",
            "primary_metric",
            "metrics",
            "delta",
            "best",
            "min_detectable_effect",
            "phase",
            "seconds",
        ] {
            assert!(line.get(field).is_some(), "{field}");
        }
        for comparison in ["delta", "best"] {
            for field in ["step", "before", "n", "value", "stderr", "p"] {
                assert!(line[comparison][field].is_number(), "{comparison} {field}");
            }
        }
        assert!(line.get("members").is_none(), "a task has no members");
        assert_eq!(line["phase"], "chance");
        for field in ["value", "stderr", "lo", "hi"] {
            assert!(line["metrics"]["acc"][field].is_number(), "{field}");
        }
        assert!(line["provenance"]["data"].is_string());
    }
}
