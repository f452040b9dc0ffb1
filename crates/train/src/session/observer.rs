//! Observers of training, and their requests.

use fineline_model::Llama;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alarm::GuardAlarm;
use crate::checkpoint::{FailedCheckpoint, SavedCheckpoint};
use crate::error::ObserverError;
use crate::rows::RowSchedule;
use crate::session::report::{SessionOutcome, StepReport};
use crate::stop::StopSignal;

/// A component that observes training: logs, probes, validation, progress, custom code. Similar to a callback
/// of other frameworks.
///
/// Observers are called in the given order, always between steps. They can read the live weights but not
/// change them. They request actions by returning a [`TrainerControl`]. An error of an observer ends
/// training.
pub trait Observer {
    /// Called before the first step of this process. `view.step` is 0 in a new run, and the step of the
    /// checkpoint in a resumed one.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        let _ = view;
        Ok(TrainerControl::Continue)
    }

    /// Called after each step, including skipped ones, and before a checkpoint of it.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn on_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        let _ = (report, view);
        Ok(TrainerControl::Continue)
    }

    /// Called when the last step violated a rule of the guard, before [`on_step`](Self::on_step). If the
    /// alarm leads to a rewind, `on_step` is not called.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn on_alarm(&mut self, alarm: &GuardAlarm, view: &StepView<'_>) -> Result<(), ObserverError> {
        let _ = (alarm, view);
        Ok(())
    }

    /// Called before a snapshot for a checkpoint is taken. Files that must not lag behind the checkpoint,
    /// such as logs, are to be synced to disk now. The returned value is stored in the checkpoint under the
    /// returned name.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn before_checkpoint(&mut self, view: &StepView<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        let _ = view;
        Ok(None)
    }

    /// Called when a checkpoint is complete. It is of `saved.step`, which can be some steps ago.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        let _ = saved;
        Ok(())
    }

    /// Called when a checkpoint could not be written, or is delayed. Training continues.
    ///
    /// # Errors
    /// Any error. It ends training.
    fn on_checkpoint_problem(&mut self, problem: &CheckpointProblem) -> Result<(), ObserverError> {
        let _ = problem;
        Ok(())
    }

    /// Called after the last step and its checkpoint. Not called if training ends with an error.
    ///
    /// # Errors
    /// Any error. It is returned by the session.
    fn on_end(&mut self, outcome: SessionOutcome, view: &StepView<'_>) -> Result<(), ObserverError> {
        let _ = (outcome, view);
        Ok(())
    }
}

/// A problem with a checkpoint that doesn't end training.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckpointProblem {
    /// It could not be written. Another attempt follows.
    Failed(FailedCheckpoint),
    /// It is still being written when the next one is due. Training waits for it.
    Delayed {
        /// Step of the checkpoint.
        step: u64,
        /// Step of the checkpoint that is due.
        due: u64,
        /// Seconds since its write started.
        seconds: f64,
    },
}

/// The state of training, as passed to observers.
#[derive(Clone, Copy)]
pub struct StepView<'a> {
    /// Number of steps done so far, skipped ones included.
    pub step: u64,
    /// Number of tokens consumed so far.
    pub tokens: u64,
    /// Length of the whole run in steps.
    pub total_steps: u64,
    /// Learning rate of the next update.
    pub lr: f64,
    /// The rows of each step.
    pub rows: &'a RowSchedule,
    /// The live model. [`Module::valid`](burn::module::Module::valid) returns it without autodiff and without
    /// copying.
    pub model: &'a Llama,
    /// The request to stop. An observer with long work should check it regularly.
    pub stop: &'a StopSignal,
}

/// A request of an observer. Of several requests, the last in this order is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrainerControl {
    /// No request.
    #[default]
    Continue,
    /// Write a checkpoint of this step.
    Checkpoint,
    /// Write a checkpoint of this step and keep it permanently.
    Keep,
    /// Rewind to the newest checkpoint that is not after this step, and skip the rows since then.
    Rewind(u64),
    /// Stop training, with a checkpoint of this step.
    Stop,
}
