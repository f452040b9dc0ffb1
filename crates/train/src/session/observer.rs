//! Observers of training, and what they can ask for.

use fineline_model::Llama;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alarm::GuardAlarm;
use crate::checkpoint::{FailedCheckpoint, SavedCheckpoint};
use crate::error::ObserverError;
use crate::rows::RowSchedule;
use crate::session::report::{SessionOutcome, StepReport};
use crate::stop::StopSignal;

/// Anything that looks at training: logs, probes, validation, progress, a user's own code.
///
/// The trainer calls its observers in the order in which they were given, always between steps. They see the live
/// weights and cannot change them; what they ask for is a [`TrainerControl`]. An error of theirs ends the training.
pub trait Observer {
    /// Before the first step of this process. `view.step` is 0 in a fresh run, and the step of the checkpoint in a
    /// resumed one.
    fn on_start(&mut self, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        let _ = view;
        Ok(TrainerControl::Continue)
    }

    /// After each step, skipped ones too, and before a checkpoint of it.
    fn on_step(&mut self, report: &StepReport, view: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        let _ = (report, view);
        Ok(TrainerControl::Continue)
    }

    /// A rule of the guard is broken by the step that was just made, before [`on_step`](Self::on_step). If the run goes back because of it, that is not called.
    fn on_alarm(&mut self, alarm: &GuardAlarm, view: &StepView<'_>) -> Result<(), ObserverError> {
        let _ = (alarm, view);
        Ok(())
    }

    /// A checkpoint of this moment is about to be taken. What must never be behind it, such as a log, is to be made
    /// durable now. What is returned is stored in it under the name, and handed out when it is loaded.
    fn before_checkpoint(&mut self, view: &StepView<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        let _ = view;
        Ok(None)
    }

    /// A checkpoint stands whole under its name. It is of the step in `saved`, some steps ago.
    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        let _ = saved;
        Ok(())
    }

    /// A checkpoint could not be written, or is late. Training goes on.
    fn on_checkpoint_problem(&mut self, trouble: &CheckpointProblem) -> Result<(), ObserverError> {
        let _ = trouble;
        Ok(())
    }

    /// After the last step and its checkpoint. Not called if training ends with an error.
    fn on_end(&mut self, outcome: SessionOutcome, view: &StepView<'_>) -> Result<(), ObserverError> {
        let _ = (outcome, view);
        Ok(())
    }
}

/// What can go wrong with a checkpoint that training survives.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckpointProblem {
    /// It could not be written. Another is tried soon.
    Failed(FailedCheckpoint),
    /// It is still being written while the next one is due: training waits for it.
    Delayed {
        /// The step that it is of.
        step: u64,
        /// The step whose checkpoint is due.
        due: u64,
        /// Seconds for which it has been written.
        seconds: f64,
    },
}

/// What an observer sees.
#[derive(Clone, Copy)]
pub struct StepView<'a> {
    /// Steps done so far, skipped ones too.
    pub step: u64,
    /// Tokens consumed so far.
    pub tokens: u64,
    /// Length of the whole run in steps.
    pub total_steps: u64,
    /// The learning rate of the next update.
    pub lr: f64,
    /// The rows of each step.
    pub rows: &'a RowSchedule,
    /// The live weights. [`Module::valid`](burn::module::Module::valid) gives them without autodiff and without a copy.
    pub model: &'a Llama,
    /// Whether somebody waits for the end: an observer at something long may want to look at it now and then.
    pub stop: &'a StopSignal,
}

/// What an observer asks of the trainer. Of several requests the last in this order counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrainerControl {
    /// Nothing.
    #[default]
    Continue,
    /// A checkpoint of this step.
    Checkpoint,
    /// A checkpoint of this step that is kept for good.
    Keep,
    /// Back to the newest checkpoint that is not after this step. The rows since then are left out.
    Rewind(u64),
    /// The end of the training, with a checkpoint of this step.
    Stop,
}
