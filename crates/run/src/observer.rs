//! What a run looks at between its steps: logs, validation, probes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fineline_dynamics::Phase;
use fineline_probe::{
    History, Interrupted, ItemRow, ProbeRecord, Round, Suite, TaskResult, read_items, write_items,
};
use fineline_train::{
    Control, Observer, ObserverError, Outcome, SavedCheckpoint, StepReport, StopReason, View,
};
use serde_json::Value;

use crate::bench::mfu;
use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::events::Event;
use crate::jsonl::read_lines;
use crate::logs::Logs;
use crate::metrics::MetricsRecord;
use crate::prepare::Prepared;
use crate::validation::Validation;
use crate::{Progress, RunError};

/// Writes the logs of a run, and puts its weights through validation and probes when their time has come.
pub(crate) struct RunObserver<'a> {
    config: &'a RunConfig,
    directory: &'a RunDirectory,
    suites: &'a [Suite],
    validation: Validation<'a>,
    logs: Logs,
    history: History,
    /// Where each task stood in its last round.
    phases: BTreeMap<String, Phase>,
    /// The last step whose round stands in the logs.
    last_round: Option<u64>,
    started: Instant,
    /// Seconds that rounds of each suite took since the start.
    spent_s: Vec<f64>,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a> RunObserver<'a> {
    /// For a run whose logs end at the step where training begins.
    pub(crate) fn new(
        config: &'a RunConfig,
        directory: &'a RunDirectory,
        prepared: &'a Prepared,
        logs: Logs,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, RunError> {
        let records: Vec<ProbeRecord> = read_lines(&directory.probes())?;
        let items_at = |step| items_if_there(&directory.items(step));
        Ok(Self {
            config,
            directory,
            suites: &prepared.suites,
            validation: Validation::new(config, prepared),
            logs,
            history: History::resume(&records, items_at)?,
            phases: records.iter().filter_map(|record| Some((record.task.clone(), record.phase?))).collect(),
            last_round: records.iter().map(|record| record.step).max(),
            started: Instant::now(),
            spent_s: vec![0.0; prepared.suites.len()],
            progress,
        })
    }

    fn event(&mut self, step: u64, event: Event) -> Result<(), RunError> {
        let record = self.logs.event(step, event)?;
        (self.progress)(Progress::Event(&record));
        Ok(())
    }

    /// Validates and probes, as far as either is due at this step and hasn't been done.
    fn round(&mut self, view: &View<'_>) -> Result<(), RunError> {
        if self.last_round == Some(view.step) {
            return Ok(());
        }
        let Some(results) = self.results(view)? else { return Ok(()) };
        if results.is_empty() {
            return Ok(());
        }
        let items: Vec<ItemRow> = results.iter().flat_map(|result| result.items.iter().cloned()).collect();
        write_items(&self.directory.items(view.step), &items)?;
        let records: Vec<ProbeRecord> =
            results.iter().map(|result| self.history.record(view.step, view.tokens, result)).collect();
        self.logs.probes(&records)?;
        self.logs.show()?;
        self.last_round = Some(view.step);
        (self.progress)(Progress::Probed(&records));
        self.log_phase_changes(&records)
    }

    fn log_phase_changes(&mut self, records: &[ProbeRecord]) -> Result<(), RunError> {
        for record in records {
            let Some(after) = record.phase else { continue };
            let before = self.phases.insert(record.task.clone(), after);
            if let Some(before) = before.filter(|before| *before != after) {
                let (before, after) = (before.to_string(), after.to_string());
                self.event(record.step, Event::PhaseChanged { task: record.task.clone(), before, after })?;
            }
        }
        Ok(())
    }

    /// The results of what is due; none if a request to stop came in between. An interrupted round leaves no trace: it is made up for
    /// when the run goes on.
    fn results(&mut self, view: &View<'_>) -> Result<Option<Vec<TaskResult>>, RunError> {
        let interrupted = || view.stop.requested().is_some();
        let mut results = Vec::new();
        if !self.is_anything_due(view) {
            return Ok(Some(results));
        }
        let model = view.model.valid();
        if self.validation.is_due(view.step, view.total_steps) {
            match self.validation.run(&model, &interrupted) {
                Ok(measured) => results.extend(measured),
                Err(Interrupted) => return Ok(None),
            }
        }
        for (place, probes) in self.config.probes.iter().enumerate() {
            if !probes.is_due(view.step, view.total_steps) || !self.can_afford(place, view)? {
                continue;
            }
            let suite = &self.suites[place];
            (self.progress)(Progress::Probing { suite: suite.name(), step: view.step });
            let start = Instant::now();
            match suite.run(&model, &Round { items: None, interrupted: &interrupted }) {
                Ok(scored) => results.extend(scored.results),
                Err(Interrupted) => return Ok(None),
            }
            self.spent_s[place] += start.elapsed().as_secs_f64();
        }
        Ok(Some(results))
    }

    fn is_anything_due(&self, view: &View<'_>) -> bool {
        let (step, last) = (view.step, view.total_steps);
        self.validation.is_due(step, last)
            || self.config.probes.iter().any(|probes| probes.is_due(step, last))
    }

    /// Whether the budget of a suite has room for another round. The first and the last round are always made.
    fn can_afford(&mut self, place: usize, view: &View<'_>) -> Result<bool, RunError> {
        let (spent, elapsed) = (self.spent_s[place], self.started.elapsed().as_secs_f64());
        if view.step == 0 || view.step == view.total_steps || self.config.probes[place].allows(spent, elapsed)
        {
            return Ok(true);
        }
        let suite = self.suites[place].name().to_owned();
        self.event(view.step, Event::ProbesSkipped { suite, spent_share: spent / elapsed })?;
        Ok(false)
    }

    fn log_step(&mut self, report: &StepReport) -> Result<(), RunError> {
        let finite = |value: f32| value.is_finite().then_some(value);
        let record = MetricsRecord {
            step: report.step,
            tokens: report.tokens,
            loss: finite(report.loss),
            lr: report.lr,
            grad_norm: finite(report.grad_norm),
            step_s: report.step_s,
            data_wait_s: report.data_wait_s,
            tokens_per_s: report.tokens_per_s,
            mfu: mfu(self.config, report.tokens_per_s),
            skipped: report.skipped.is_some(),
        };
        self.logs.step(&record)?;
        (self.progress)(Progress::Step(&record));
        Ok(())
    }
}

/// The items of an earlier round; none if somebody made room by removing their file: then one change can't be told.
fn items_if_there(path: &Path) -> Result<Vec<ItemRow>, RunError> {
    if path.exists() {
        return Ok(read_items(path)?);
    }
    tracing::warn!("{} is gone: the next round can't tell changes since it", path.display());
    Ok(Vec::new())
}

impl Observer for RunObserver<'_> {
    fn on_start(&mut self, view: &View<'_>) -> Result<Control, ObserverError> {
        self.round(view)?;
        Ok(Control::Continue)
    }

    fn on_step(&mut self, report: &StepReport, view: &View<'_>) -> Result<Control, ObserverError> {
        self.log_step(report)?;
        if let Some(reason) = report.skipped {
            let in_a_row = report.skipped_in_a_row;
            self.event(report.step, Event::Skipped { reason: reason.to_string(), in_a_row })?;
        }
        self.round(view)?;
        Ok(Control::Continue)
    }

    fn before_checkpoint(&mut self, _view: &View<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        self.logs.sync()?;
        Ok(None)
    }

    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        let event =
            Event::Checkpoint { path: saved.path.clone(), seconds: saved.write_s, bytes: saved.bytes };
        Ok(self.event(saved.step, event)?)
    }

    fn on_end(&mut self, outcome: Outcome, view: &View<'_>) -> Result<(), ObserverError> {
        let event = match outcome {
            Outcome::Finished => Event::Finished,
            Outcome::Stopped(StopReason::Signal(signal)) => Event::Stopped { signal: Some(signal) },
            Outcome::Stopped(_) => Event::Stopped { signal: None },
        };
        self.event(view.step, event)?;
        Ok(self.logs.sync()?)
    }
}
