//! What a run looks at between its steps: logs, validation, probes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fineline_data::Dataset;
use fineline_dynamics::Phase;
use fineline_probe::{
    EvaluationHistory, ItemRow, ProbeConfig, ProbeError, ProbeRecord, RepresentationHistory, SimilarityRow,
    TaskFailure, TaskResult, read_items, read_representations, write_items, write_representations,
    write_similarities,
};
use fineline_ranks::Ranks;
use fineline_train::{
    CheckpointProblem, FailedCheckpoint, GuardAlarm, Observer, ObserverError, SavedCheckpoint,
    SessionOutcome, StepReport, StepView, StopReason, TrainerControl,
};
use serde_json::Value;

use crate::config::RunConfig;
use crate::error::RunError;
use crate::evaluation::measuring::Evaluator;
use crate::evaluation::probing::{EvaluationPlan, ProbeTables, TableRound};
use crate::evaluation::sharing::EvaluationRequest;
use crate::evaluation::validation::Validation;
use crate::prepare::Prepared;
use crate::prepare::chunks::chunk_ends;
use crate::progress::RunProgress;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::read_lines;
use crate::records::lock::DirectoryId;
use crate::records::metrics::{MetricsRecord, mfu};
use crate::sinks::digests::DigestChain;
use crate::sinks::logs::{Logs, UNWRITTEN};
use crate::sinks::prometheus::PrometheusServer;
use crate::sinks::upload::RunUploader;
use crate::triggers::{Notifier, Triggers};
use fineline_layout::RunDirectory;

/// Where what is seen goes.
pub(crate) struct RunSinks<'a> {
    pub(crate) logs: Logs,
    pub(crate) digests: Option<DigestChain>,
    pub(crate) mirror: Option<RunUploader>,
    pub(crate) metrics: Option<&'a PrometheusServer>,
    pub(crate) notifier: Notifier<'a>,
    /// Who measures along.
    pub(crate) ranks: &'a dyn Ranks,
}

/// Writes the logs of a run, and puts its weights through validation and probes when their time has come.
pub(crate) struct RunObserver<'a> {
    config: &'a RunConfig,
    directory: &'a RunDirectory,
    dataset: &'a Dataset,
    probing: ProbeTables<'a>,
    triggers: Triggers<'a>,
    validation: Validation<'a>,
    folder: Option<DirectoryId>,
    logs: Logs,
    digests: Option<DigestChain>,
    mirror: Option<RunUploader>,
    metrics: Option<&'a PrometheusServer>,
    history: EvaluationHistory,
    representations: RepresentationHistory,
    ranks: &'a dyn Ranks,
    /// Where each task stood in its last round.
    phases: BTreeMap<String, Phase>,
    /// The last step whose round stands in the logs, or was left out.
    last_round: Option<u64>,
    progress: &'a mut dyn FnMut(RunProgress<'_>),
}

/// What was found at a step.
#[derive(Default)]
struct RoundEvaluation {
    /// Of validation first, then of the suites.
    results: Vec<TaskResult>,
    rounds: Vec<TableRound>,
}

impl<'a> RunObserver<'a> {
    /// For a run whose logs end at the step where training begins.
    pub(crate) fn new(
        config: &'a RunConfig,
        directory: &'a RunDirectory,
        prepared: &'a Prepared,
        outlets: RunSinks<'a>,
        progress: &'a mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Self, RunError> {
        let records: Vec<ProbeRecord> = read_lines(&directory.probes())?;
        let events: Vec<EventRecord> = read_lines(&directory.events())?;
        let items_at = |step| if_there(&directory.items(step), read_items);
        let representations_at = |step| if_there(&directory.representations(step), read_representations);
        Ok(Self {
            config,
            directory,
            dataset: &prepared.dataset,
            probing: ProbeTables::new(&config.probes, &prepared.suites, &events, &records),
            triggers: Triggers::new(config, directory, outlets.notifier, &events),
            validation: Validation::new(config, prepared),
            folder: DirectoryId::of(directory.root()),
            logs: outlets.logs,
            digests: outlets.digests,
            mirror: outlets.mirror,
            metrics: outlets.metrics,
            history: EvaluationHistory::resume(&records, items_at)?,
            representations: RepresentationHistory::resume(&records, representations_at)?,
            phases: records.iter().filter_map(|record| Some((record.task.clone(), record.phase?))).collect(),
            last_round: last_round(&records, &events),
            ranks: outlets.ranks,
            progress,
        })
    }

    fn event(&mut self, step: u64, event: Event) -> Result<(), RunError> {
        let record = self.logs.event(step, event)?;
        if let Some(metrics) = &self.metrics {
            metrics.event(&record);
        }
        (self.progress)(RunProgress::Event(&record));
        Ok(())
    }

    /// The trigger that asked to go back, if one did.
    pub(crate) fn rewinding(&self) -> Option<String> {
        self.triggers.rewinding()
    }

    /// Logs that the run goes back to `step`, durably: what it has learned must outlive the steps that are undone.
    pub(crate) fn go_back(&mut self, step: u64, event: Event) -> Result<(), RunError> {
        self.event(step, event)?;
        self.logs.sync(step)?;
        match self.logs.unwritten_lines() {
            0 => Ok(()),
            lines => Err(self.unwritable(lines)),
        }
    }

    /// Waits for the copy of the run elsewhere, and says what became of it.
    ///
    /// # Errors
    /// [`RunError::LogsUnwritable`] if lines of the logs are in memory still.
    pub(crate) fn close(mut self, step: u64) -> Result<(), RunError> {
        if let Some(mirror) = self.mirror.take() {
            (self.progress)(RunProgress::Preparing(&format!("copying to {}", mirror.url())));
            let mut logged = Ok(());
            mirror.finish(&mut |event| logged = self.event(step, event));
            logged?;
        }
        self.logs.sync(step)?;
        match self.logs.unwritten_lines() {
            0 => Ok(()),
            lines => Err(self.unwritable(lines)),
        }
    }

    fn unwritable(&self, lines: usize) -> RunError {
        let (dir, limit) = (self.directory.root().to_owned(), self.config.log.max_buffered_lines);
        RunError::LogsUnwritable { dir, lines, limit }
    }

    /// Says what has become unwritable, or writable again. With too much that isn't written, it is time to stop.
    fn look_after_logs(&mut self, step: u64) -> Result<TrainerControl, RunError> {
        if DirectoryId::of(self.directory.root()) != self.folder {
            return Err(RunError::FolderGone { dir: self.directory.root().to_owned() });
        }
        if let Some(trouble) = self.logs.trouble() {
            self.event(step, trouble)?;
        }
        let is_too_much = self.logs.unwritten_lines() > self.config.log.max_buffered_lines;
        Ok(if is_too_much { TrainerControl::Stop } else { TrainerControl::Continue })
    }

    fn log_mirror_news(&mut self, step: u64) -> Result<(), RunError> {
        let news = self.mirror.as_mut().map(RunUploader::news).unwrap_or_default();
        news.into_iter().try_for_each(|event| self.event(step, event))
    }

    /// Validates and probes, as far as either is due at this step and hasn't been done. A round that a request to stop interrupts leaves no trace: it is
    /// made up for when the run goes on.
    fn round(&mut self, view: &StepView<'_>) -> Result<TrainerControl, RunError> {
        if self.last_round == Some(view.step) {
            EvaluationRequest::default().give(self.ranks);
            return Ok(TrainerControl::Continue);
        }
        let at_chunk_end = || chunk_ends(self.dataset, view.rows).contains_key(&view.step);
        let is_due_besides = |table: &ProbeConfig| {
            self.triggers.probes_are_due(view.step) || table.every_chunk && at_chunk_end()
        };
        let plan = self.probing.plan(view.step, view.total_steps, is_due_besides);
        let mut measured = match self.measure(view, &plan) {
            Err(RunError::Interrupted(_)) => return Ok(TrainerControl::Continue),
            measured => measured?,
        };
        for event in self.probing.left_out(&plan) {
            self.event(view.step, event)?;
        }
        let start = Instant::now();
        for TaskFailure { task, message } in measured.rounds.iter().flat_map(|round| &round.failures) {
            let (task, message) = (Some(task.clone()), message.clone());
            self.event(view.step, Event::EvaluationFailed { task, message })?;
        }
        let control = self.keep(view, &mut measured)?;
        let kept_s = start.elapsed().as_secs_f64();
        for event in self.probing.pay(&measured.rounds, &measured.results, kept_s) {
            self.event(view.step, event)?;
        }
        Ok(control)
    }

    /// What is due, as all ranks find it together.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] if one of them is asked to stop.
    fn measure(&mut self, view: &StepView<'_>, plan: &EvaluationPlan) -> Result<RoundEvaluation, RunError> {
        let validates = self.validation.is_due(view.step, view.total_steps);
        let order = EvaluationRequest { validates, asked: plan.asked.clone() };
        order.give(self.ranks);
        if order.is_empty() {
            return Ok(RoundEvaluation::default());
        }
        let interrupted = || view.stop.requested().is_some();
        let model = view.model.valid();
        let measuring = Evaluator { model: &model, interrupted: &interrupted, ranks: self.ranks };
        let mut results = if validates { self.validation.run(&measuring)? } else { Vec::new() };
        let beginning = |suite: &str| (self.progress)(RunProgress::Evaluating { suite, step: view.step });
        let rounds = self.probing.ask(plan, &measuring, &mut results, beginning)?;
        self.ranks.set_status("keeping what was measured");
        Ok(RoundEvaluation { results, rounds })
    }

    /// Keeps what was found: the items, then the lines of the log, which can be computed again from them. Without its items a round is lost; training goes on.
    fn keep(
        &mut self,
        view: &StepView<'_>,
        measured: &mut RoundEvaluation,
    ) -> Result<TrainerControl, RunError> {
        let results = &mut measured.results;
        if results.is_empty() {
            return Ok(TrainerControl::Continue);
        }
        if let Err(error) = self.store(view.step, results) {
            let message = error.to_string();
            self.event(view.step, Event::EvaluationFailed { task: None, message })?;
            return Ok(TrainerControl::Continue);
        }
        let groups = self.probing.groups(&measured.rounds);
        let records = self.history.record_round(view.step, view.tokens, results, &groups);
        self.logs.probes(&records)?;
        if let Some(metrics) = &self.metrics {
            metrics.probes(&records);
        }
        self.last_round = Some(view.step);
        (self.progress)(RunProgress::Evaluated(&records));
        let control = self.look_for_triggers(&records, view)?;
        self.log_phase_changes(&records)?;
        Ok(control)
    }

    /// Has triggers look at what a round found. Phases are still those of the rounds before.
    fn look_for_triggers(
        &mut self,
        records: &[ProbeRecord],
        view: &StepView<'_>,
    ) -> Result<TrainerControl, RunError> {
        let mut control = TrainerControl::Continue;
        for record in records {
            let fired = self.triggers.look(record, self.phases.get(&record.task).copied(), view)?;
            control = control.max(fired.control);
            for event in fired.events {
                self.event(view.step, event)?;
            }
        }
        Ok(control)
    }

    /// Stores what the results are computed from.
    fn store(&mut self, step: u64, results: &mut [TaskResult]) -> Result<(), ProbeError> {
        let items: Vec<ItemRow> = results.iter().flat_map(|result| result.items.iter().cloned()).collect();
        write_items(&self.directory.items(step), &items)?;
        self.compare_representations(step, results)
    }

    /// Sets representations against earlier ones, and stores them for later ones.
    fn compare_representations(&mut self, step: u64, results: &mut [TaskResult]) -> Result<(), ProbeError> {
        let rows: Vec<SimilarityRow> =
            results.iter_mut().flat_map(|result| self.representations.compare(step, result)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let of_tasks: Vec<_> = results
            .iter()
            .filter_map(|result| Some((result.task.as_str(), result.representation.as_ref()?)))
            .collect();
        write_similarities(&self.directory.similarities(step), &rows)?;
        write_representations(&self.directory.representations(step), &of_tasks)
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

    /// Tells of each source that was begun anew in the step.
    fn log_epochs(&mut self, view: &StepView<'_>) -> Result<(), RunError> {
        for (source, epoch) in self.dataset.epochs_started(view.rows.consumed_in(view.step)) {
            self.event(view.step, Event::EpochStarted { source, epoch })?;
        }
        Ok(())
    }

    fn log_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<(), RunError> {
        let digest = self.digests.as_mut().map(|digests| digests.next(report.step, view.model));
        if let Some(digest) = &digest {
            self.logs.digest(digest)?;
        }
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
            digest: digest.map(|digest| digest.chain),
        };
        self.logs.step(&record)?;
        if let Some(metrics) = &self.metrics {
            metrics.step(&record);
        }
        (self.progress)(RunProgress::Step(&record));
        Ok(())
    }
}

/// The last step at which a run has probed, or decided not to.
fn last_round(records: &[ProbeRecord], events: &[EventRecord]) -> Option<u64> {
    let left_out = events.iter().filter(|record| matches!(record.event, Event::EvaluationSkipped { .. }));
    records.iter().map(|record| record.step).chain(left_out.map(|record| record.step)).max()
}

/// What is stored of an earlier round; nothing if somebody made room by removing the file: then changes since it can't be told.
fn if_there<T: Default>(path: &Path, read: impl Fn(&Path) -> Result<T, ProbeError>) -> Result<T, RunError> {
    if path.exists() {
        return Ok(read(path)?);
    }
    tracing::warn!("{} is gone: the next round can't tell changes since it", path.display());
    Ok(T::default())
}

impl Observer for RunObserver<'_> {
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(self.round(view)?)
    }

    fn on_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        self.log_step(report, view)?;
        if let Some(reason) = report.skipped {
            let consecutive = report.consecutive_skips;
            self.event(report.step, Event::UpdateSkipped { reason: reason.to_string(), consecutive })?;
        }
        self.log_epochs(view)?;
        self.log_mirror_news(report.step)?;
        // First: a round makes folders, and must not do so in the place of one that is gone.
        let asked = self.look_after_logs(report.step)?;
        Ok(asked.max(self.round(view)?))
    }

    fn on_alarm(&mut self, alarm: &GuardAlarm, view: &StepView<'_>) -> Result<(), ObserverError> {
        Ok(self.event(view.step, Event::GuardTriggered { alarm: *alarm })?)
    }

    /// A checkpoint must not be ahead of its logs: what the disk doesn't take of them goes along in it.
    fn before_checkpoint(&mut self, view: &StepView<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        let unwritten = self.logs.sync(view.step)?;
        if unwritten.is_empty() {
            return Ok(None);
        }
        Ok(Some((UNWRITTEN.to_owned(), serde_json::to_value(unwritten)?)))
    }

    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        let event = Event::Checkpoint {
            path: saved.path.clone(),
            seconds: saved.write_s,
            blocked_s: saved.blocked_s,
            bytes: saved.bytes,
        };
        self.event(saved.step, event)?;
        for event in self.triggers.on_checkpoint(saved) {
            self.event(saved.step, event)?;
        }
        let refused = self.mirror.as_mut().and_then(|mirror| mirror.offer(saved));
        refused.map_or(Ok(()), |event| Ok(self.event(saved.step, event)?))
    }

    fn on_checkpoint_problem(&mut self, trouble: &CheckpointProblem) -> Result<(), ObserverError> {
        let (step, event) = match trouble {
            CheckpointProblem::Failed(FailedCheckpoint { step, path, bytes, reason, consecutive }) => {
                let (path, reason) = (path.clone(), reason.clone());
                (*step, Event::CheckpointFailed { path, reason, bytes: *bytes, consecutive: *consecutive })
            }
            CheckpointProblem::Delayed { step, due, seconds } => {
                (*due, Event::CheckpointDelayed { checkpoint_step: *step, seconds: *seconds })
            }
        };
        Ok(self.event(step, event)?)
    }

    fn on_end(&mut self, outcome: SessionOutcome, view: &StepView<'_>) -> Result<(), ObserverError> {
        let event = match outcome {
            SessionOutcome::Finished => Event::Finished,
            SessionOutcome::Stopped(StopReason::Signal(signal)) => Event::Stopped { signal: Some(signal) },
            SessionOutcome::Stopped(_) => Event::Stopped { signal: None },
            // Where it went back to is known to the caller, who logs it there.
            SessionOutcome::Rewind(_) => return Ok(()),
        };
        self.event(view.step, event)?;
        self.logs.sync(view.step)?;
        Ok(())
    }
}
