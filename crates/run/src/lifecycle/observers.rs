//! Small observers of a training session.

use std::sync::atomic::{AtomicBool, Ordering};

use fineline_train::{Observer, ObserverError, StepReport, StepView, TrainerControl};

/// Stops training after a given step.
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

/// Writes a checkpoint when the caller requests one.
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

/// Writes a checkpoint before the first step. A branch needs it, because the run that it comes from may
/// remove the checkpoint it started with, and so does a run that may rewind before its first regular
/// checkpoint.
pub(super) struct FirstCheckpoint(pub(super) bool);

impl Observer for FirstCheckpoint {
    fn on_start(&mut self, _view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(if self.0 { TrainerControl::Checkpoint } else { TrainerControl::Continue })
    }
}
