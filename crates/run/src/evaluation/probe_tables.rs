//! The `[[probes]]` tables of a run: which suites are due at a step, on how many items, and what their rounds
//! cost.

use std::time::Instant;

use fineline_probe::{ProbeConfig, ProbeRecord, Suite, TaskGroup, TaskResult};

use super::probe_schedule::{ProbeSchedule, RoundSize, RoundTime, TaskCost};
use super::shared_evaluation::{EvaluationResults, SuiteOutcome, SuiteRequest};
use crate::records::events::{Event, EventRecord};

/// The tables, each with the account of its budget, and the clock that they share.
pub(crate) struct ProbeTables<'a> {
    tables: Vec<ProbeTable<'a>>,
    started: Instant,
    /// Seconds that the run took before this start.
    elapsed_before_s: f64,
}

struct ProbeTable<'a> {
    config: &'a ProbeConfig,
    suite: &'a Suite,
    schedule: ProbeSchedule,
}

/// The suites that are due at a step.
#[derive(Default)]
pub(crate) struct EvaluationPlan {
    /// Suites to evaluate.
    pub(crate) suites: Vec<SuiteRequest>,
    /// Indices of the tables whose round is skipped, to stay within their budget.
    pub(crate) skipped_tables: Vec<usize>,
}

impl<'a> ProbeTables<'a> {
    /// The tables of a run whose logs have these events and records.
    pub(crate) fn new(
        configs: &'a [ProbeConfig],
        suites: &'a [Suite],
        events: &[EventRecord],
        records: &[ProbeRecord],
    ) -> Self {
        let mut tables: Vec<ProbeTable<'a>> =
            configs.iter().zip(suites).map(|(config, suite)| ProbeTable::new(config, suite)).collect();
        for record in events {
            let Event::EvaluationFinished { table, suite, seconds, .. } = &record.event else { continue };
            if let Some(table) = tables.get_mut(*table).filter(|table| table.suite.name() == suite) {
                table.replay_cost(*seconds, records.iter().filter(|probe| probe.step == record.step));
            }
        }
        Self { tables, started: Instant::now(), elapsed_before_s: elapsed_s(events) }
    }

    /// Plans the round after `step` of a run of `last_step` steps. A table is due by its own cadence, or by
    /// `is_also_due`.
    pub(crate) fn plan(
        &self,
        step: u64,
        last_step: u64,
        is_also_due: impl Fn(&ProbeConfig) -> bool,
    ) -> EvaluationPlan {
        let time = RoundTime { elapsed_s: self.elapsed_s(), is_last: step == last_step };
        let mut plan = EvaluationPlan::default();
        for (index, table) in self.tables.iter().enumerate() {
            if !table.config.is_due(step, last_step) && !is_also_due(table.config) {
                continue;
            }
            match table.schedule.choose(time) {
                RoundSize::All => plan.suites.push(SuiteRequest { table: index, limit: None }),
                RoundSize::Items(limit) => {
                    plan.suites.push(SuiteRequest { table: index, limit: Some(limit) });
                }
                RoundSize::Skip => plan.skipped_tables.push(index),
            }
        }
        plan
    }

    /// Returns the groups of the suites that were evaluated.
    pub(crate) fn groups(&self, suites: &[SuiteOutcome]) -> Vec<TaskGroup> {
        suites.iter().flat_map(|suite| self.tables[suite.request.table].suite.groups()).cloned().collect()
    }

    /// Charges the costs of a round to the accounts of its tables. The time of logging is divided among
    /// validation and the tables in proportion to the time of their evaluation. Returns an event for each
    /// table.
    pub(crate) fn record_costs(&mut self, results: &EvaluationResults, logging_s: f64) -> Vec<Event> {
        let evaluation_s =
            results.validation_s + results.suites.iter().map(|suite| suite.seconds).sum::<f64>();
        let elapsed_s = self.elapsed_s();
        let mut events = Vec::new();
        for suite in &results.suites {
            let seconds = suite.seconds * (1.0 + logging_s / evaluation_s);
            let table = &mut self.tables[suite.request.table];
            table.schedule.charge(seconds, results.of_suite(suite).map(cost));
            events.push(Event::EvaluationFinished {
                table: suite.request.table,
                suite: table.suite.name().to_owned(),
                limit: suite.request.limit,
                n_items: results.of_suite(suite).map(|result| result.n).sum(),
                seconds,
                budget_used: table.schedule.budget_used(elapsed_s),
            });
        }
        events
    }

    /// Returns an event for each table whose round was skipped.
    pub(crate) fn skipped_events(&self, tables: &[usize]) -> Vec<Event> {
        let elapsed_s = self.elapsed_s();
        let skipped = tables.iter().map(|&index| &self.tables[index]);
        skipped
            .map(|table| Event::EvaluationSkipped {
                suite: table.suite.name().to_owned(),
                budget_used: table.schedule.budget_used(elapsed_s),
            })
            .collect()
    }

    /// Returns the seconds that the run has taken so far.
    fn elapsed_s(&self) -> f64 {
        self.elapsed_before_s + self.started.elapsed().as_secs_f64()
    }
}

impl<'a> ProbeTable<'a> {
    fn new(config: &'a ProbeConfig, suite: &'a Suite) -> Self {
        let limit = config.limit.unwrap_or(usize::MAX);
        let tasks = suite.tasks().map(|task| (task.name.clone(), task.items.len().min(limit)));
        Self { config, suite, schedule: ProbeSchedule::new(config.budget, tasks) }
    }

    /// Charges the cost of a logged round to the account.
    fn replay_cost<'r>(&mut self, seconds: f64, records: impl Iterator<Item = &'r ProbeRecord>) {
        let asks = |record: &&ProbeRecord| self.suite.tasks().any(|task| task.name == record.task);
        let to_cost = |record: &'r ProbeRecord| TaskCost {
            task: &record.task,
            items: record.n,
            seconds: record.seconds,
        };
        let costs: Vec<TaskCost<'r>> = records.filter(asks).map(to_cost).collect();
        self.schedule.charge(seconds, costs);
    }
}

fn cost(result: &TaskResult) -> TaskCost<'_> {
    TaskCost { task: &result.task, items: result.n, seconds: result.seconds }
}

/// Computes the seconds that a run took from its events: from each start or resume to the last event before
/// the next one. Events after a checkpoint that the run resumed from are dropped with their steps, and don't
/// count.
fn elapsed_s(events: &[EventRecord]) -> f64 {
    let is_start = |record: &EventRecord| matches!(record.event, Event::Started | Event::Resumed { .. });
    let mut seconds = 0.0;
    for (index, start) in events.iter().enumerate().filter(|(_, record)| is_start(record)) {
        let last = events[index + 1..].iter().take_while(|record| !is_start(record)).last();
        seconds += last.map_or(0.0, |last| last.time.duration_since(start.time).as_secs_f64().max(0.0));
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_sittings_is_not_the_run_s() {
        let at = |second: i64, event: Event| EventRecord {
            step: 0,
            time: jiff::Timestamp::from_second(1_000_000 + second).unwrap(),
            event,
        };
        let resumed = || Event::Resumed { checkpoint: "c".into() };
        let events = [
            at(0, Event::Started),
            at(40, Event::Finished),
            at(100, Event::Stopped { signal: None }),
            at(5_000, resumed()),
            at(9_000, resumed()),
            at(9_010, Event::Finished),
        ];
        assert!((elapsed_s(&events) - 110.0).abs() < 1e-9);
        assert!(elapsed_s(&[]).abs() < 1e-9);
    }
}
