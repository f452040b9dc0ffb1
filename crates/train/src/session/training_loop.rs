//! The loop around steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fineline_layout::kept_name;
use fineline_ranks::Ranks;

use crate::alarm::{GuardAction, GuardAlarm};
use crate::checkpoint::{CheckpointMilestones, Checkpointer, WrittenCheckpoint};
use crate::error::{ObserverError, TrainError};
use crate::guard::{GuardVerdict, StallDetector, StepClock};
use crate::rows::{RowRange, RowSchedule, RowSource};
use crate::session::observer::{CheckpointProblem, Observer, StepView, TrainerControl};
use crate::session::prefetch::Prefetch;
use crate::session::report::{Rewind, RewindReason, SessionOutcome, StepReport, StopReason};
use crate::session::vote::Vote;
use crate::step::Trainer;
use crate::stop::StopSignal;

/// Seconds after which a checkpoint that is still being written when the next one is due counts as delayed.
const DELAYED_S: f64 = 1.0;
/// The pause before the last checkpoint of a run is retried.
const RETRY_AT_END: Duration = Duration::from_secs(1);

/// The loop around [`Trainer::step`], with observers and checkpoints between steps, until the last step or a
/// request to stop.
pub struct Session<'a> {
    /// Source of the rows to train on.
    pub rows: &'a dyn RowSource,
    /// Observers, in the order in which they are called.
    pub observers: Vec<&'a mut dyn Observer>,
    /// Writer of checkpoints. Without it there are none, not even at the end.
    pub checkpointer: Option<Checkpointer>,
    /// Request to stop, checked between steps.
    pub stop: StopSignal,
    /// Shows other threads the running step, and whether it is late.
    pub clock: Arc<StepClock>,
    /// The ranks that train together. Each runs a session. Only rank 0 has the observers that write files.
    pub ranks: &'a dyn Ranks,
}

impl Session<'_> {
    /// Trains from the current step of the trainer. Before it returns successfully, the checkpoint of the
    /// last step is complete. Collective.
    ///
    /// # Errors
    /// The first error of a step, an observer or a checkpoint, or a stop by the guard. On a single rank, a
    /// checkpoint that is being written is still finished and reported to observers.
    pub fn run(mut self, trainer: &mut Trainer) -> Result<SessionOutcome, TrainError> {
        let rows = self.rows;
        std::thread::scope(|scope| {
            let start_prefetch = |trainer: &Trainer| {
                let steps = trainer.progress().step + 1..=trainer.total_steps();
                Prefetch::start(scope, rows, trainer.rows().clone(), trainer.own_rows(), steps)
            };
            let outcome = self.run_steps(trainer, start_prefetch);
            if outcome.is_err() && self.ranks.size() == 1 {
                self.finish_checkpoint();
            }
            outcome
        })
    }

    /// Finishes the checkpoint that is being written after an error, and reports it to observers. Its own
    /// errors are only logged. Collective, so on several ranks it is called only for errors that all ranks
    /// have.
    fn finish_checkpoint(&mut self) {
        if let Err(error) = self.announce(Checkpointer::wait) {
            tracing::error!("after another error: {error}");
        }
    }

    fn run_steps<'scope>(
        &mut self,
        trainer: &mut Trainer,
        start_prefetch: impl Fn(&Trainer) -> Prefetch<'scope>,
    ) -> Result<SessionOutcome, TrainError> {
        let mut batches = start_prefetch(trainer);
        let mut stall_detector = StallDetector::new(&trainer.recipe().guard);
        let mut control = self.notify(trainer, |observer, view| observer.on_start(view))?;
        loop {
            let vote = self.vote(trainer, control);
            if !vote.unready {
                self.announce(Checkpointer::advance)?;
            }
            let outcome = decide_outcome(trainer, vote);
            if let Some(outcome @ SessionOutcome::Rewind(_)) = outcome {
                return self.end(trainer, outcome);
            }
            if vote.control == TrainerControl::Keep {
                self.keep_checkpoint(trainer);
            }
            let is_requested = matches!(vote.control, TrainerControl::Checkpoint | TrainerControl::Keep);
            if outcome.is_some() || is_requested || vote.save {
                self.save(trainer)?;
            }
            if let Some(outcome) = outcome {
                return self.end(trainer, outcome);
            }
            self.clock.start(trainer.progress().step + 1, stall_detector.limit());
            let step_result = timed_step(trainer, &mut batches, self.ranks);
            self.clock.finish();
            let (report, verdict) = step_result?;
            let stall = stall_detector.record(report.step, report.step_s);
            self.announce_alarms(trainer, verdict.alarms.iter().chain(&stall))?;
            let decisive = verdict.decisive().copied();
            if let Some(alarm) = decisive.filter(|alarm| alarm.action == GuardAction::Rewind) {
                return self.end(trainer, SessionOutcome::Rewind(self.rewind_by_guard(trainer, alarm)));
            }
            if decisive.is_some_and(|alarm| alarm.action == GuardAction::SkipData) {
                self.skip_data(trainer);
                batches = start_prefetch(trainer);
            }
            control = self.notify(trainer, |observer, view| observer.on_step(&report, view))?;
            if let Err(error) = check_guard(trainer, &report, &verdict) {
                // All ranks have the same error, so they can finish the checkpoint together.
                self.finish_checkpoint();
                return Err(error);
            }
        }
    }

    /// Returns the combined requests of all ranks. Collective.
    fn vote(&self, trainer: &Trainer, control: TrainerControl) -> Vote {
        let step = trainer.progress().step;
        let checkpointer = self.checkpointer.as_ref();
        let own = Vote {
            control,
            signal: self.stop.requested(),
            save: checkpointer.is_some_and(|checkpointer| checkpointer.is_due(step)),
            unready: checkpointer.is_some_and(|checkpointer| !checkpointer.is_ready()),
        };
        own.strongest(self.ranks)
    }

    /// Reports alarms to observers.
    fn announce_alarms<'a>(
        &mut self,
        trainer: &Trainer,
        alarms: impl Iterator<Item = &'a GuardAlarm>,
    ) -> Result<(), TrainError> {
        let view = step_view(trainer, &self.stop);
        for alarm in alarms {
            self.observers.iter_mut().try_for_each(|observer| observer.on_alarm(alarm, &view))?;
        }
        Ok(())
    }

    /// Returns the rewind to before the last step, whose rows are to be skipped.
    fn rewind_by_guard(&self, trainer: &Trainer, alarm: GuardAlarm) -> Rewind {
        let start = trainer.rows().first_row_of(alarm.at);
        let skipped_rows = self.rows_to_skip(trainer, start, start);
        let reason = RewindReason::Guard(alarm);
        Rewind { from_step: alarm.at, target_step: alarm.at - 1, skipped_rows, reason }
    }

    /// Returns the rows to skip from `start` on, for an alarm about the row `offending`.
    fn rows_to_skip(&self, trainer: &Trainer, start: u64, offending: u64) -> RowRange {
        let guard = &trainer.recipe().guard;
        let end_of_steps = start + guard.skip_steps * trainer.rows().global_batch_size();
        let end_of_chunk = guard.skip_chunk.then(|| self.rows.chunk_end(offending)).flatten();
        RowRange { start, end: end_of_chunk.unwrap_or(end_of_steps) }
    }

    /// Skips the rows after those of the last step.
    fn skip_data(&mut self, trainer: &mut Trainer) {
        let end = trainer.rows().consumed_in(trainer.progress().step).end;
        let rows = self.rows_to_skip(trainer, end, end - 1);
        let before = trainer.rows().clone();
        trainer.skip_rows(rows);
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.change_milestones(|milestones| {
                *milestones = reschedule_milestones(milestones, &before, trainer.rows());
            });
        }
    }

    /// Marks the checkpoint of this step to be kept permanently.
    fn keep_checkpoint(&mut self, trainer: &Trainer) {
        let step = trainer.progress().step;
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.change_milestones(|milestones| {
                milestones.entry(step).or_insert_with(|| kept_name(step));
            });
        }
    }

    /// Calls a method of all observers, and returns their strongest request.
    fn notify(
        &mut self,
        trainer: &Trainer,
        mut call: impl FnMut(&mut dyn Observer, &StepView<'_>) -> Result<TrainerControl, ObserverError>,
    ) -> Result<TrainerControl, TrainError> {
        self.ranks.set_status("the observers of a step: logs, validation, probes");
        let view = step_view(trainer, &self.stop);
        let mut strongest = TrainerControl::Continue;
        for observer in &mut self.observers {
            strongest = strongest.max(call(&mut **observer, &view)?);
        }
        Ok(strongest)
    }

    /// Takes a snapshot and starts to write it in the background, unless there is a checkpoint of this step.
    fn save(&mut self, trainer: &Trainer) -> Result<(), TrainError> {
        let step = trainer.progress().step;
        if self.checkpointer.as_ref().is_none_or(|checkpointer| checkpointer.has(step)) {
            return Ok(());
        }
        let start = Instant::now();
        self.announce_delay(step)?;
        self.announce(Checkpointer::wait)?;
        let mut values = BTreeMap::new();
        let view = step_view(trainer, &self.stop);
        for observer in &mut self.observers {
            values.extend(observer.before_checkpoint(&view)?);
        }
        let Some(checkpointer) = &mut self.checkpointer else { return Ok(()) };
        checkpointer.save(trainer, values, self.ranks)?;
        checkpointer.record_blocked(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Reports to observers that training waits for the previous checkpoint, if that is delayed.
    fn announce_delay(&mut self, due: u64) -> Result<(), TrainError> {
        let in_progress = self.checkpointer.as_ref().and_then(Checkpointer::in_progress);
        let Some((step, seconds)) = in_progress.filter(|&(_, seconds)| seconds >= DELAYED_S) else {
            return Ok(());
        };
        let problem = CheckpointProblem::Delayed { step, due, seconds };
        self.observers.iter_mut().try_for_each(|observer| observer.on_checkpoint_problem(&problem))?;
        Ok(())
    }

    /// Reports to observers the result of a checkpoint that `advance` returns, if it returns one.
    fn announce(
        &mut self,
        advance: impl FnOnce(&mut Checkpointer, &dyn Ranks) -> Result<Option<WrittenCheckpoint>, TrainError>,
    ) -> Result<Option<WrittenCheckpoint>, TrainError> {
        let Some(checkpointer) = &mut self.checkpointer else { return Ok(None) };
        let written = advance(checkpointer, self.ranks)?;
        let reported = match &written {
            None => Ok(()),
            Some(WrittenCheckpoint::Saved(saved)) => {
                self.observers.iter_mut().try_for_each(|observer| observer.on_checkpoint(saved))
            }
            Some(WrittenCheckpoint::Failed(failed)) => {
                let problem = CheckpointProblem::Failed(failed.clone());
                self.observers.iter_mut().try_for_each(|observer| observer.on_checkpoint_problem(&problem))
            }
        };
        reported?;
        Ok(written)
    }

    /// Waits for the last checkpoint, and calls observers a last time.
    fn end(&mut self, trainer: &Trainer, outcome: SessionOutcome) -> Result<SessionOutcome, TrainError> {
        while let Some(WrittenCheckpoint::Failed(_)) = self.announce(Checkpointer::wait)? {
            std::thread::sleep(RETRY_AT_END);
            self.save(trainer)?;
        }
        let view = step_view(trainer, &self.stop);
        self.observers.iter_mut().try_for_each(|observer| observer.on_end(outcome, &view))?;
        Ok(outcome)
    }
}

/// Returns the rewind to an earlier step, with all rows since then to be skipped.
fn rewind_by_observer(trainer: &Trainer, target_step: u64) -> Rewind {
    let from_step = trainer.progress().step;
    let target_step = target_step.min(from_step);
    let rows = trainer.rows();
    let (start, end) = (rows.consumed_in(target_step + 1).start, rows.consumed_in(from_step + 1).start);
    Rewind { from_step, target_step, skipped_rows: RowRange { start, end }, reason: RewindReason::Observer }
}

/// Returns the outcome of the session if it ends at this step.
fn decide_outcome(trainer: &Trainer, vote: Vote) -> Option<SessionOutcome> {
    // A signal has precedence, even after the last step: an observer may have skipped work because of it.
    if let Some(signal) = vote.signal {
        return Some(SessionOutcome::Stopped(StopReason::Signal(signal)));
    }
    if trainer.progress().step >= trainer.total_steps() {
        return Some(SessionOutcome::Finished);
    }
    match vote.control {
        TrainerControl::Rewind(step) => Some(SessionOutcome::Rewind(rewind_by_observer(trainer, step))),
        TrainerControl::Stop => Some(SessionOutcome::Stopped(StopReason::Observer)),
        TrainerControl::Continue | TrainerControl::Checkpoint | TrainerControl::Keep => None,
    }
}

/// Returns the milestones after more rows are skipped. A milestone marks the end of the rows up to it, so it
/// moves to an earlier step.
fn reschedule_milestones(
    milestones: &CheckpointMilestones,
    before: &RowSchedule,
    after: &RowSchedule,
) -> CheckpointMilestones {
    let mut rescheduled = CheckpointMilestones::new();
    for (&old, name) in milestones {
        // If a whole chunk is skipped, the previous one keeps its name.
        let new = if old == 0 { 0 } else { after.steps_before(before.consumed_in(old).end) };
        rescheduled.entry(new).or_insert_with(|| name.clone());
    }
    rescheduled
}

/// Takes one step and measures its time.
fn timed_step(
    trainer: &mut Trainer,
    batches: &mut Prefetch<'_>,
    ranks: &dyn Ranks,
) -> Result<(StepReport, GuardVerdict), TrainError> {
    let start = Instant::now();
    let rows = batches.next().expect("the source has rows for each step up to the last");
    let data_wait_s = start.elapsed().as_secs_f64();
    let outcome = trainer.step(&rows, ranks)?;
    let step_s = start.elapsed().as_secs_f64();
    let progress = trainer.progress();
    let tokens = trainer.recipe().train.tokens_per_step(trainer.recipe().seq_len);
    let report = StepReport {
        step: progress.step,
        tokens: progress.tokens,
        loss: outcome.loss,
        lr: outcome.lr,
        grad_norm: outcome.grad_norm,
        step_s,
        data_wait_s,
        tokens_per_s: tokens as f64 / step_s,
        skipped: outcome.verdict.skipped,
        consecutive_skips: trainer.progress().consecutive_skips,
    };
    Ok((report, outcome.verdict))
}

/// Returns an error if the guard stops the run: by a rule, or after too many skips or reductions.
fn check_guard(trainer: &Trainer, report: &StepReport, verdict: &GuardVerdict) -> Result<(), TrainError> {
    let (step, count) = (report.step, trainer.progress().consecutive_skips);
    if let Some(alarm) = verdict.decisive().filter(|alarm| alarm.action == GuardAction::Stop) {
        return Err(TrainError::Guard { alarm: *alarm });
    }
    if let Some(count) = trainer.guard().too_many_lr_reductions() {
        return Err(TrainError::TooManyLrReductions { count, step });
    }
    match report.skipped {
        Some(reason) if count >= trainer.recipe().guard.max_skips => {
            Err(TrainError::TooManySkips { count, step, reason })
        }
        _ => Ok(()),
    }
}

/// Returns the view of observers.
fn step_view<'a>(trainer: &'a Trainer, stop: &'a StopSignal) -> StepView<'a> {
    let progress = trainer.progress();
    StepView {
        step: progress.step,
        tokens: progress.tokens,
        total_steps: trainer.total_steps(),
        lr: trainer.next_lr(),
        rows: trainer.rows(),
        model: trainer.model(),
        stop,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor};
    use fineline_kernels::AttentionMask;
    use fineline_model::Positions;
    use fineline_ranks::SingleRank;

    use super::*;
    use crate::alarm::SkipReason;
    use crate::guard::GuardConfig;
    use crate::step::TrainingRecipe;
    use crate::testing::{Masked, RandomRows, Reports, optimizer_bits, recipe, run, trainer, weight_bits};

    /// Records its calls, and requests a control after one of the steps.
    #[derive(Default)]
    struct CallRecorder {
        lines: Vec<String>,
        request: Option<(u64, TrainerControl)>,
        signal: Option<u64>,
    }

    impl Observer for CallRecorder {
        fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
            self.lines.push(format!("start at {} of {}", view.step, view.total_steps));
            Ok(self
                .request
                .filter(|&(step, _)| step == view.step)
                .map_or(TrainerControl::Continue, |(_, control)| control))
        }

        fn on_step(
            &mut self,
            report: &StepReport,
            view: &StepView<'_>,
        ) -> Result<TrainerControl, ObserverError> {
            assert_eq!((report.step, report.tokens), (view.step, view.tokens));
            self.lines.push(format!("step {}", report.step));
            if self.signal == Some(report.step) {
                view.stop.request(15);
            }
            Ok(self
                .request
                .filter(|&(step, _)| step == view.step)
                .map_or(TrainerControl::Continue, |(_, control)| control))
        }

        fn on_end(&mut self, outcome: SessionOutcome, view: &StepView<'_>) -> Result<(), ObserverError> {
            self.lines.push(format!("{outcome:?} at {}", view.step));
            Ok(())
        }
    }

    fn run_with(trainer: &mut Trainer, recorder: &mut CallRecorder) -> SessionOutcome {
        let stop = StopSignal::default();
        Session {
            rows: &RandomRows,
            observers: vec![recorder],
            checkpointer: None,
            stop,
            ranks: &SingleRank,
            clock: Arc::default(),
        }
        .run(trainer)
        .unwrap()
    }

    #[test]
    fn a_run_ends_after_its_last_step() {
        let mut trainer = trainer(recipe());
        let mut recorder = CallRecorder::default();
        assert_eq!(run_with(&mut trainer, &mut recorder), SessionOutcome::Finished);
        assert_eq!(recorder.lines.first().unwrap(), "start at 0 of 7");
        assert_eq!(recorder.lines.last().unwrap(), "Finished at 7");
        assert_eq!(recorder.lines.len(), 9);

        let mut again = CallRecorder::default();
        assert_eq!(run_with(&mut trainer, &mut again), SessionOutcome::Finished);
        assert_eq!(again.lines, ["start at 7 of 7", "Finished at 7"]);
    }

    #[test]
    fn a_signal_ends_it_after_the_step() {
        let mut trainer = trainer(recipe());
        let mut recorder = CallRecorder { signal: Some(3), ..CallRecorder::default() };
        assert_eq!(run_with(&mut trainer, &mut recorder), SessionOutcome::Stopped(StopReason::Signal(15)));
        assert_eq!(trainer.progress().step, 3);
        // The same trainer resumes at its step.
        assert_eq!(run_with(&mut trainer, &mut CallRecorder::default()), SessionOutcome::Finished);
        assert_eq!(trainer.progress().tokens, 7 * 48);
    }

    #[test]
    fn an_observer_can_stop_it_at_the_start_or_later() {
        for step in [0, 4] {
            let mut trainer = trainer(recipe());
            let mut recorder =
                CallRecorder { request: Some((step, TrainerControl::Stop)), ..CallRecorder::default() };
            assert_eq!(run_with(&mut trainer, &mut recorder), SessionOutcome::Stopped(StopReason::Observer));
            assert_eq!(trainer.progress().step, step);
        }
    }

    #[test]
    fn an_observers_error_ends_it() {
        struct Full;
        impl Observer for Full {
            fn on_step(&mut self, _: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
                Err("no room for the log".into())
            }
        }
        let (mut full, mut later) = (Full, Reports::default());
        let observers: Vec<&mut dyn Observer> = vec![&mut full, &mut later];
        let session = Session {
            rows: &RandomRows,
            observers,
            checkpointer: None,
            stop: StopSignal::default(),
            ranks: &SingleRank,
            clock: Arc::default(),
        };
        let error = session.run(&mut trainer(recipe())).unwrap_err();
        assert_eq!(error.to_string(), "no room for the log");
        assert!(later.0.is_empty());
    }

    #[test]
    fn skips_are_tolerated_until_too_many_are_consecutive() {
        let guarded = |max_skips| TrainingRecipe {
            guard: GuardConfig { max_skips, ..GuardConfig::default() },
            ..recipe()
        };
        let (outcome, reports) = run(&mut trainer(guarded(3)), &Masked(3..=4), None);
        assert_eq!(outcome.unwrap(), SessionOutcome::Finished);
        let skipped: Vec<u64> =
            reports.iter().filter(|report| report.skipped.is_some()).map(|r| r.step).collect();
        assert_eq!(skipped, [3, 4]);

        let (outcome, reports) = run(&mut trainer(guarded(2)), &Masked(3..=4), None);
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("stopped after 2 consecutive skipped steps"), "{error}");
        assert_eq!(reports.len(), 4, "the last skip is reported before the run ends");
    }

    /// Skips the rows of steps 3 and 4. A milestone at step 4 moves to step 2, one at step 6 to step 4.
    #[test]
    fn skipped_rows_move_milestones_to_earlier_steps() {
        let milestones = CheckpointMilestones::from([2, 4, 6].map(|step| (step, format!("after {step}"))));
        let before = RowSchedule::without_skips(8);
        let mut after = before.clone();
        after.skip(RowRange { start: 16, end: 32 });
        let rescheduled = reschedule_milestones(&milestones, &before, &after);
        assert_eq!(
            rescheduled,
            CheckpointMilestones::from([(2, "after 2".to_owned()), (4, "after 6".to_owned())])
        );
    }

    #[test]
    fn an_observer_can_rewind_the_run() {
        let mut trainer = trainer(recipe());
        let mut recorder =
            CallRecorder { request: Some((5, TrainerControl::Rewind(2))), ..CallRecorder::default() };
        let SessionOutcome::Rewind(rewind) = run_with(&mut trainer, &mut recorder) else {
            panic!("expected a rewind")
        };
        assert_eq!((rewind.from_step, rewind.target_step, rewind.reason), (5, 2, RewindReason::Observer));
        assert_eq!(rewind.skipped_rows, RowRange { start: 16, end: 40 });
    }

    #[test]
    fn the_guard_can_rewind_the_run() {
        let guard = GuardConfig {
            non_finite: crate::NonFiniteRule { action: GuardAction::Rewind },
            skip_steps: 2,
            ..GuardConfig::default()
        };
        let mut trainer = trainer(TrainingRecipe { guard, ..recipe() });
        let distortion = crate::MetricDistortion::Loss(f32::NAN);
        trainer.inject_faults(vec![crate::MetricFault { steps: 4..=4, distortion }]);
        let (outcome, reports) = run(&mut trainer, &RandomRows, None);
        let Ok(SessionOutcome::Rewind(rewind)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((rewind.from_step, rewind.target_step), (4, 3));
        assert_eq!(rewind.skipped_rows, RowRange { start: 24, end: 40 });
        assert_eq!(reports.len(), 3, "a step that is undone is not reported");
    }

    #[test]
    fn non_finite_weights_stop_the_run() {
        let broken =
            fineline_model::LlamaConfig { initializer_range: f64::INFINITY, ..crate::testing::config() };
        let mut trainer = Trainer::new(
            TrainingRecipe { guard: GuardConfig { max_skips: 2, ..GuardConfig::default() }, ..recipe() },
            broken.init(1, &crate::testing::device()),
        )
        .unwrap();
        let (outcome, reports) = run(&mut trainer, &RandomRows, None);
        assert!(matches!(outcome, Err(TrainError::TooManySkips { count: 2, step: 2, .. })));
        assert!(reports.iter().all(|report| report.skipped == Some(SkipReason::NonFiniteLoss)));
    }

    /// Computes with the live weights after each step, as a probe does.
    struct Probe(Vec<u32>);

    impl Observer for Probe {
        fn on_step(&mut self, _: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
            let model = view.model.valid();
            let tokens_bt = Tensor::<2, Int>::from_data([[1, 2, 3], [16, 0, 5]], &model.device());
            let hidden_btd = model.hidden(tokens_bt, &Positions::Sequential, &AttentionMask::Causal);
            self.0.push(model.logits(hidden_btd).sum().into_scalar::<f32>().to_bits());
            Ok(TrainerControl::Continue)
        }
    }

    #[test]
    fn observers_do_not_change_the_training() {
        fn trained(observers: Vec<&mut dyn Observer>) -> Trainer {
            let mut trainer = trainer(recipe());
            let stop = StopSignal::default();
            Session {
                rows: &RandomRows,
                observers,
                checkpointer: None,
                stop,
                ranks: &SingleRank,
                clock: Arc::default(),
            }
            .run(&mut trainer)
            .unwrap();
            trainer
        }
        let mut probe = Probe(Vec::new());
        let (observed, unobserved) = (trained(vec![&mut probe]), trained(Vec::new()));
        assert_eq!(weight_bits(observed.model()), weight_bits(unobserved.model()));
        assert_eq!(optimizer_bits(&observed), optimizer_bits(&unobserved));
        // The probe did compute, with different weights each time.
        assert!(
            probe.0.len() == 7 && probe.0[2..].windows(2).all(|pair| pair[0] != pair[1]),
            "{:?}",
            probe.0
        );
    }

    #[test]
    fn a_step_takes_at_least_as_long_as_its_rows() {
        let (_, reports) = run(&mut trainer(recipe()), &RandomRows, None);
        assert_eq!(reports.len(), 7);
        assert!(reports.iter().all(|r| r.step_s >= r.data_wait_s && r.tokens_per_s > 0.0));
    }
}
