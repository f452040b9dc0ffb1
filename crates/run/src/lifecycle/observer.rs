//! The observer of a run on rank 0: logs each step, and evaluates the model when a round is due.

use std::time::Instant;

use fineline_data::Dataset;
use fineline_layout::RunDirectory;
use fineline_probe::{ProbeConfig, ProbeRecord, TaskFailure};
use fineline_ranks::Ranks;
use fineline_train::{
    CheckpointProblem, FailedCheckpoint, GuardAlarm, Observer, ObserverError, SavedCheckpoint,
    SessionOutcome, StepReport, StepView, StopReason, TrainerControl,
};
use serde_json::Value;

use super::round_store::RoundStore;
use super::run_sinks::RunSinks;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::evaluation::probe_tables::{EvaluationPlan, ProbeTables};
use crate::evaluation::shared_evaluation::{EvaluationRequest, EvaluationResults, SharedEvaluation};
use crate::evaluation::validation::Validation;
use crate::prepare::Prepared;
use crate::prepare::chunks::chunk_ends;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::read_lines;
use crate::records::metrics::{MetricsRecord, mfu};
use crate::triggers::{Notifier, Triggers};

/// Logs a run, and runs validation and probes.
pub(super) struct RunObserver<'a> {
    config: &'a RunConfig,
    dataset: &'a Dataset,
    sinks: RunSinks<'a>,
    evaluation: SharedEvaluation<'a>,
    tables: ProbeTables<'a>,
    store: RoundStore<'a>,
    triggers: Triggers<'a>,
    /// The last step whose round is in the logs, or was skipped.
    last_round: Option<u64>,
}

impl<'a> RunObserver<'a> {
    /// The observer of a run whose logs end at the step where training starts.
    ///
    /// # Errors
    /// Logs, or results of earlier rounds, that can't be read.
    pub(super) fn new(
        config: &'a RunConfig,
        directory: &'a RunDirectory,
        prepared: &'a Prepared,
        notifier: Notifier<'a>,
        sinks: RunSinks<'a>,
        ranks: &'a dyn Ranks,
    ) -> Result<Self, RunError> {
        let records: Vec<ProbeRecord> = read_lines(&directory.probes())?;
        let events: Vec<EventRecord> = read_lines(&directory.events())?;
        let validation = Validation::new(config, prepared);
        Ok(Self {
            config,
            dataset: &prepared.dataset,
            sinks,
            evaluation: SharedEvaluation { validation, suites: &prepared.suites, ranks },
            tables: ProbeTables::new(&config.probes, &prepared.suites, &events, &records),
            store: RoundStore::resume(directory, &records)?,
            triggers: Triggers::new(config, directory, notifier, &events),
            last_round: last_round(&records, &events),
        })
    }

    /// Returns the name of the trigger that requested a rewind, if one did.
    pub(super) fn rewinding(&self) -> Option<String> {
        self.triggers.rewinding()
    }

    /// Logs durably that the run goes back to `step`, because the skipped rows must outlive the steps that
    /// are undone.
    ///
    /// # Errors
    /// [`RunError::LogsUnwritable`] if the event can't be written.
    pub(super) fn log_rewind(&mut self, step: u64, event: Event) -> Result<(), RunError> {
        self.sinks.event(step, event)?;
        self.sinks.sync_all(step)
    }

    /// Waits for uploads, and closes the logs.
    ///
    /// # Errors
    /// [`RunError::LogsUnwritable`] if lines can't be written.
    pub(super) fn close(self, step: u64) -> Result<(), RunError> {
        self.sinks.close(step)
    }

    /// Runs validation and probes as far as they are due at this step and haven't run yet. A round that is
    /// interrupted by a request to stop leaves no trace, and runs after the resume.
    fn evaluate_if_due(&mut self, view: &StepView<'_>) -> Result<TrainerControl, RunError> {
        let is_done = self.last_round == Some(view.step);
        let plan = if is_done { EvaluationPlan::default() } else { self.plan(view) };
        let request = EvaluationRequest {
            validate: !is_done && self.evaluation.validation.is_due(view.step, view.total_steps),
            suites: plan.suites,
        };
        let sinks = &mut self.sinks;
        let mut on_suite = |suite: &str| sinks.suite_started(suite, view.step);
        let Some(mut results) = self.evaluation.evaluate(Some(request), view, &mut on_suite)? else {
            return Ok(TrainerControl::Continue);
        };
        for event in self.tables.skipped_events(&plan.skipped_tables) {
            self.sinks.event(view.step, event)?;
        }
        if results.tasks.is_empty() && results.suites.is_empty() {
            return Ok(TrainerControl::Continue);
        }
        self.evaluation.ranks.set_status("logging of an evaluation round");
        let start = Instant::now();
        for TaskFailure { task, message } in results.suites.iter().flat_map(|suite| &suite.failures) {
            let (task, message) = (Some(task.clone()), message.clone());
            self.sinks.event(view.step, Event::EvaluationFailed { task, message })?;
        }
        let control = self.record(view, &mut results)?;
        let logging_s = start.elapsed().as_secs_f64();
        for event in self.tables.record_costs(&results, logging_s) {
            self.sinks.event(view.step, event)?;
        }
        Ok(control)
    }

    fn plan(&self, view: &StepView<'_>) -> EvaluationPlan {
        let at_chunk_end = || chunk_ends(self.dataset, view.rows).contains_key(&view.step);
        let is_also_due = |table: &ProbeConfig| {
            self.triggers.probes_are_due(view.step) || table.every_chunk && at_chunk_end()
        };
        self.tables.plan(view.step, view.total_steps, is_also_due)
    }

    /// Stores the items, then writes the lines of the log, which can be computed again from the items. If the
    /// items can't be stored, the round is lost and training continues.
    fn record(
        &mut self,
        view: &StepView<'_>,
        results: &mut EvaluationResults,
    ) -> Result<TrainerControl, RunError> {
        if results.tasks.is_empty() {
            return Ok(TrainerControl::Continue);
        }
        if let Err(error) = self.store.store(view.step, &mut results.tasks) {
            let message = error.to_string();
            self.sinks.event(view.step, Event::EvaluationFailed { task: None, message })?;
            return Ok(TrainerControl::Continue);
        }
        let groups = self.tables.groups(&results.suites);
        let records = self.store.records(view, &results.tasks, &groups);
        self.sinks.evaluation(&records)?;
        self.last_round = Some(view.step);
        let control = self.fire_triggers(&records, view)?;
        for event in self.store.update_phases(&records) {
            self.sinks.event(view.step, event)?;
        }
        Ok(control)
    }

    /// Evaluates the conditions of triggers on the records of a round. The known phases are still those of
    /// earlier rounds.
    fn fire_triggers(
        &mut self,
        records: &[ProbeRecord],
        view: &StepView<'_>,
    ) -> Result<TrainerControl, RunError> {
        let mut control = TrainerControl::Continue;
        for record in records {
            let outcome = self.triggers.check(record, self.store.phase(&record.task), view)?;
            control = control.max(outcome.control);
            for event in outcome.events {
                self.sinks.event(view.step, event)?;
            }
        }
        Ok(control)
    }

    /// Logs each source of which a new epoch started in the step.
    fn log_epochs(&mut self, view: &StepView<'_>) -> Result<(), RunError> {
        for (source, epoch) in self.dataset.epochs_started(view.rows.consumed_in(view.step)) {
            self.sinks.event(view.step, Event::EpochStarted { source, epoch })?;
        }
        Ok(())
    }

    fn log_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<(), RunError> {
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
            digest: None,
        };
        self.sinks.step(record, view.model)
    }
}

/// Returns the last step with an evaluation round, or with a skipped one.
fn last_round(records: &[ProbeRecord], events: &[EventRecord]) -> Option<u64> {
    let skipped = events.iter().filter(|record| matches!(record.event, Event::EvaluationSkipped { .. }));
    records.iter().map(|record| record.step).chain(skipped.map(|record| record.step)).max()
}

impl Observer for RunObserver<'_> {
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.evaluate_if_due(view)?)
    }

    fn on_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        self.log_step(report, view)?;
        if let Some(reason) = report.skipped {
            let consecutive = report.consecutive_skips;
            let event = Event::UpdateSkipped { reason: reason.to_string(), consecutive };
            self.sinks.event(report.step, event)?;
        }
        self.log_epochs(view)?;
        self.sinks.record_uploads(report.step)?;
        // Before a round, which creates directories: it must not recreate a run directory that is gone.
        let control = self.sinks.check_logs(report.step)?;
        Ok(control.max(self.evaluate_if_due(view)?))
    }

    fn on_alarm(&mut self, alarm: &GuardAlarm, view: &StepView<'_>) -> Result<(), ObserverError> {
        Ok(self.sinks.event(view.step, Event::GuardTriggered { alarm: *alarm })?)
    }

    /// A checkpoint must not be ahead of its logs, so it carries the lines that can't be written.
    fn before_checkpoint(&mut self, view: &StepView<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        Ok(self.sinks.sync(view.step)?)
    }

    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        let event = Event::Checkpoint {
            path: saved.path.clone(),
            seconds: saved.write_s,
            blocked_s: saved.blocked_s,
            bytes: saved.bytes,
        };
        self.sinks.event(saved.step, event)?;
        for event in self.triggers.on_checkpoint(saved) {
            self.sinks.event(saved.step, event)?;
        }
        match self.sinks.upload(saved) {
            Some(failure) => Ok(self.sinks.event(saved.step, failure)?),
            None => Ok(()),
        }
    }

    fn on_checkpoint_problem(&mut self, problem: &CheckpointProblem) -> Result<(), ObserverError> {
        let (step, event) = match problem {
            CheckpointProblem::Failed(FailedCheckpoint { step, path, bytes, reason, consecutive }) => {
                let (path, reason) = (path.clone(), reason.clone());
                (*step, Event::CheckpointFailed { path, reason, bytes: *bytes, consecutive: *consecutive })
            }
            CheckpointProblem::Delayed { step, due, seconds } => {
                (*due, Event::CheckpointDelayed { checkpoint_step: *step, seconds: *seconds })
            }
        };
        Ok(self.sinks.event(step, event)?)
    }

    fn on_end(&mut self, outcome: SessionOutcome, view: &StepView<'_>) -> Result<(), ObserverError> {
        let event = match outcome {
            SessionOutcome::Finished => Event::Finished,
            SessionOutcome::Stopped(StopReason::Signal(signal)) => Event::Stopped { signal: Some(signal) },
            SessionOutcome::Stopped(_) => Event::Stopped { signal: None },
            // The caller finds the checkpoint to go back to, and logs the rewind there.
            SessionOutcome::Rewind(_) => return Ok(()),
        };
        self.sinks.event(view.step, event)?;
        self.sinks.sync(view.step)?;
        Ok(())
    }
}
