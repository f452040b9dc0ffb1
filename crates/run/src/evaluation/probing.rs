//! The probes of a run: which suite is asked how much at a step, and what that cost.

use std::ops::Range;
use std::time::Instant;

use fineline_probe::{ProbeConfig, ProbeRecord, Suite, TaskFailure, TaskGroup, TaskResult};

use super::measuring::Evaluator;
use super::probe_schedule::{ProbeSchedule, RoundSize, RoundTime, TaskCost};
use crate::error::RunError;
use crate::records::events::{Event, EventRecord};

/// The `[[probes]]` tables of a run, each with its account, and the clock that they share.
pub(crate) struct ProbeTables<'a> {
    tables: Vec<ProbeTable<'a>>,
    started: Instant,
    /// Seconds that the run took before it was started this time.
    elapsed_before_s: f64,
}

struct ProbeTable<'a> {
    config: &'a ProbeConfig,
    suite: &'a Suite,
    schedule: ProbeSchedule,
}

/// What is asked at a step.
#[derive(Default)]
pub(crate) struct EvaluationPlan {
    /// The place of each table that is asked, and its items per task at most.
    pub(crate) asked: Vec<(usize, Option<usize>)>,
    /// The place of each table whose round is left out to keep within its budget.
    left_out: Vec<usize>,
}

/// What a table's suite has found.
pub(crate) struct TableRound {
    table: usize,
    items: Option<usize>,
    seconds: f64,
    /// Their places among the results of the step.
    results: Range<usize>,
    pub(crate) failures: Vec<TaskFailure>,
}

impl<'a> ProbeTables<'a> {
    /// Of a run whose logs hold these events and records so far.
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
                table.pay_again(*seconds, records.iter().filter(|probe| probe.step == record.step));
            }
        }
        Self { tables, started: Instant::now(), elapsed_before_s: elapsed_s(events) }
    }

    /// What is asked after `step` of a run of `last_step` steps. `is_due_besides` is about what no table knows by itself.
    pub(crate) fn plan(
        &self,
        step: u64,
        last_step: u64,
        is_due_besides: impl Fn(&ProbeConfig) -> bool,
    ) -> EvaluationPlan {
        let due = RoundTime { elapsed_s: self.elapsed_s(), is_last: step == last_step };
        let mut plan = EvaluationPlan::default();
        for (place, table) in self.tables.iter().enumerate() {
            if !table.config.is_due(step, last_step) && !is_due_besides(table.config) {
                continue;
            }
            match table.schedule.choose(due) {
                RoundSize::All => plan.asked.push((place, None)),
                RoundSize::Items(items) => plan.asked.push((place, Some(items))),
                RoundSize::Skip => plan.left_out.push(place),
            }
        }
        plan
    }

    /// Asks the suites, on all ranks, and adds what they find to `results`; `beginning` is told of each.
    pub(crate) fn ask(
        &self,
        plan: &EvaluationPlan,
        measuring: &Evaluator<'_>,
        results: &mut Vec<TaskResult>,
        mut beginning: impl FnMut(&str),
    ) -> Result<Vec<TableRound>, RunError> {
        let ask = |&(table, items): &(usize, Option<usize>)| {
            let suite = self.tables[table].suite;
            beginning(suite.name());
            let start = Instant::now();
            let scores = measuring.score(suite, items)?;
            let found = measuring.results(suite, items, &scores);
            let seconds = start.elapsed().as_secs_f64();
            let first = results.len();
            results.extend(found.results);
            Ok(TableRound { table, items, seconds, results: first..results.len(), failures: found.failures })
        };
        plan.asked.iter().map(ask).collect()
    }

    /// The groups of the suites that were asked.
    pub(crate) fn groups(&self, rounds: &[TableRound]) -> Vec<TaskGroup> {
        rounds.iter().flat_map(|round| self.tables[round.table].suite.groups()).cloned().collect()
    }

    /// Takes what the rounds of a step cost into the accounts. `results` are all of the step, and `kept_s` the seconds that it took to log them, of which each bears
    /// a part as large as its part in the measuring.
    pub(crate) fn pay(&mut self, rounds: &[TableRound], results: &[TaskResult], kept_s: f64) -> Vec<Event> {
        let asked: usize = rounds.iter().map(|round| round.results.len()).sum();
        let others_s: f64 =
            results[..results.len() - asked].iter().map(|validation| validation.seconds).sum();
        let measured_s = others_s + rounds.iter().map(|round| round.seconds).sum::<f64>();
        let elapsed_s = self.elapsed_s();
        let pay = |round: &TableRound| {
            let seconds = round.seconds * (1.0 + kept_s / measured_s);
            let table = &mut self.tables[round.table];
            let results = &results[round.results.clone()];
            table.schedule.spend(seconds, results.iter().map(cost));
            Event::EvaluationFinished {
                table: round.table,
                suite: table.suite.name().to_owned(),
                limit: round.items,
                n_items: results.iter().map(|result| result.n).sum(),
                seconds,
                budget_used: table.schedule.share(elapsed_s),
            }
        };
        rounds.iter().map(pay).collect()
    }

    /// What is to be said of rounds that are left out.
    pub(crate) fn left_out(&self, plan: &EvaluationPlan) -> Vec<Event> {
        let elapsed_s = self.elapsed_s();
        let skipped = |table: &ProbeTable<'_>| Event::EvaluationSkipped {
            suite: table.suite.name().to_owned(),
            budget_used: table.schedule.share(elapsed_s),
        };
        plan.left_out.iter().map(|place| skipped(&self.tables[*place])).collect()
    }

    /// Seconds that the run has taken so far.
    fn elapsed_s(&self) -> f64 {
        self.elapsed_before_s + self.started.elapsed().as_secs_f64()
    }
}

impl<'a> ProbeTable<'a> {
    fn new(config: &'a ProbeConfig, suite: &'a Suite) -> Self {
        let most = config.limit.unwrap_or(usize::MAX);
        let tasks = suite.tasks().map(|task| (task.name.clone(), task.items.len().min(most)));
        Self { config, suite, schedule: ProbeSchedule::new(config.budget, tasks) }
    }

    /// Takes a round that the logs tell of into the account.
    fn pay_again<'r>(&mut self, seconds: f64, records: impl Iterator<Item = &'r ProbeRecord>) {
        let asks = |record: &&ProbeRecord| self.suite.tasks().any(|task| task.name == record.task);
        let cost = |record: &'r ProbeRecord| TaskCost {
            task: &record.task,
            items: record.n,
            seconds: record.seconds,
        };
        let costs: Vec<TaskCost<'r>> = records.filter(asks).map(cost).collect();
        self.schedule.spend(seconds, costs);
    }
}

fn cost(result: &TaskResult) -> TaskCost<'_> {
    TaskCost { task: &result.task, items: result.n, seconds: result.seconds }
}

/// The seconds that a run took, by its events: from each start or resume to the last event before the next one. What came after a checkpoint
/// that the run went back to isn't among them, since its events are dropped with its steps.
fn elapsed_s(events: &[EventRecord]) -> f64 {
    let is_start = |record: &EventRecord| matches!(record.event, Event::Started | Event::Resumed { .. });
    let mut seconds = 0.0;
    for (place, start) in events.iter().enumerate().filter(|(_, record)| is_start(record)) {
        let last = events[place + 1..].iter().take_while(|record| !is_start(record)).last();
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
