//! Small observers of a training session.

use std::sync::atomic::{AtomicBool, Ordering};

use fineline_train::{Observer, ObserverError, StepReport, StepView, TrainerControl};

/// Ends training after a step before the last.
pub(super) struct StopAfter(pub(super) Option<u64>);

impl Observer for StopAfter {
    fn on_step(
        &mut self,
        report: &StepReport,
        _view: &StepView<'_>,
    ) -> Result<TrainerControl, ObserverError> {
        Ok(if self.0 == Some(report.step) { TrainerControl::Stop } else { TrainerControl::Continue })
    }
}

/// Has a checkpoint written when the caller asks for one.
pub(super) struct CheckpointRequest<'a>(pub(super) &'a AtomicBool);

impl Observer for CheckpointRequest<'_> {
    fn on_step(
        &mut self,
        _report: &StepReport,
        _view: &StepView<'_>,
    ) -> Result<TrainerControl, ObserverError> {
        let is_asked_for = self.0.swap(false, Ordering::SeqCst);
        Ok(if is_asked_for { TrainerControl::Checkpoint } else { TrainerControl::Continue })
    }
}

/// Has a run begin with a checkpoint of its own: a branch, since the one that it comes from is another run's to remove, and a run that may
/// have to go back before its first regular one.
pub(super) struct FirstCheckpoint(pub(super) bool);

impl Observer for FirstCheckpoint {
    fn on_start(&mut self, _view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(if self.0 { TrainerControl::Checkpoint } else { TrainerControl::Continue })
    }
}
