//! `events.jsonl`: what happened in a run besides its steps.

use std::path::PathBuf;

use fineline_train::{GuardAlarm, RowRange};
use serde::{Deserialize, Serialize};

use super::identity::InitRecord;
use super::trigger_evidence::TriggerEvidence;
use crate::config::TriggerAction;

/// One line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventRecord {
    /// The step after which it happened; 0 is before the first.
    pub step: u64,
    /// When it happened.
    pub time: jiff::Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Training began at step 0.
    Started,
    /// Training went on from a checkpoint.
    Resumed {
        /// The checkpoint's folder.
        checkpoint: PathBuf,
    },
    /// Training began with released weights.
    Initialized {
        /// What they are, and what is exact about going on from them.
        init: Box<InitRecord>,
    },
    /// A configuration value differs from the one that the run was started with.
    ConfigChanged {
        /// The value's key.
        key: String,
        /// The value until now.
        before: serde_json::Value,
        /// The value from here on.
        after: serde_json::Value,
    },
    /// A checkpoint is whole and published.
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// Seconds from the snapshot to the rename, in the background.
        seconds: f64,
        /// Seconds that training stood still for it; 0 in logs of earlier versions.
        #[serde(default)]
        blocked_s: f64,
        /// Size on disk.
        bytes: u64,
    },
    /// A checkpoint could not be written. Training goes on, and tries again soon.
    CheckpointFailed {
        /// The folder that it was to become.
        path: PathBuf,
        /// What the system said.
        reason: String,
        /// Bytes that it needs.
        bytes: u64,
        /// Checkpoints in a row that failed, this one included.
        consecutive: u32,
    },
    /// A checkpoint is still being written while the next one is due: training waits for it.
    CheckpointDelayed {
        /// The step that it is of.
        checkpoint_step: u64,
        /// Seconds for which it has been written.
        seconds: f64,
    },
    /// A log can't be written. Its lines, and those of the others, are kept in memory as long as there are no more than `log.max_buffered_lines`; TensorBoard's are lost.
    LogWriteFailed {
        /// The file, or TensorBoard's folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// What could not be written has been written now.
    LogWriteRecovered {
        /// The file, or TensorBoard's folder.
        path: PathBuf,
    },
    /// A checkpoint stands whole in `storage.remote`.
    Uploaded {
        /// Its step, which may be some steps ago.
        checkpoint_step: u64,
        /// Where it is.
        url: String,
        /// Its size.
        bytes: u64,
        /// Seconds from when it stood whole here.
        seconds: f64,
        /// Steps whose checkpoints were removed there, by the rules of `[checkpoint]`.
        removed: Vec<u64>,
    },
    /// Something could not be copied to `storage.remote`. It is tried again; training goes on.
    UploadFailed {
        /// What.
        what: String,
        /// What went wrong.
        reason: String,
        /// Attempts so far.
        attempts: u32,
        /// Seconds until the next one; null if there is none.
        retry_s: Option<f64>,
    },
    /// A checkpoint will not be copied: a newer one was there first.
    UploadSuperseded {
        /// Its step.
        checkpoint_step: u64,
        /// The newer one's.
        by: u64,
    },
    /// The run came to its end, and its newest checkpoint is not, or not wholly, in `storage.remote`.
    UploadIncomplete {
        /// Where it should be.
        url: String,
        /// The newest step that is there, of those that this start copied.
        copied: Option<u64>,
    },
    /// The run was brought back from a store.
    Downloaded {
        /// The checkpoint's address.
        url: String,
    },
    /// A checkpoint was passed over on a resume.
    CheckpointDamaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An update was left out.
    UpdateSkipped {
        /// Why.
        reason: String,
        /// Skipped steps in a row, this one included.
        consecutive: u32,
    },
    /// A step broke a rule of the guard.
    GuardTriggered {
        /// Which, what is done about it, and the evidence.
        #[serde(flatten)]
        alarm: GuardAlarm,
    },
    /// The run went back to the checkpoint of this event's step. What came after it is undone.
    Rewound {
        /// The step after which it went back.
        from: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The rows that are left out from now on, by their numbers in the run.
        skipped_rows: RowRange,
        /// How many times the run has gone back to this checkpoint, this time included.
        count: u32,
        /// Why, for people.
        reason: String,
        /// Why, if it was the guard.
        alarm: Option<GuardAlarm>,
        /// The trigger that asked for it, if one did.
        trigger: Option<String>,
    },
    /// All rows of a source had been trained on, and it was begun anew.
    EpochStarted {
        /// The source.
        source: String,
        /// How many times it had been gone through.
        epoch: u64,
    },
    /// A suite was put to the model.
    EvaluationFinished {
        /// The place of its table among `[[probes]]`, from 0.
        table: usize,
        /// The suite.
        suite: String,
        /// Items per task at most, where the budget left no room for all.
        limit: Option<usize>,
        /// Items asked, of all tasks.
        n_items: usize,
        /// Seconds it took, logging included.
        seconds: f64,
        /// Share of the wall time that rounds of this table have taken so far.
        budget_used: f64,
    },
    /// A probe round was left out to keep within the budget.
    EvaluationSkipped {
        /// The suite.
        suite: String,
        /// Share of the wall time that rounds of its table have taken so far.
        budget_used: f64,
    },
    /// A task could not be asked, or what a round found could not be kept. Training goes on.
    EvaluationFailed {
        /// The task; null if the whole round is lost.
        task: Option<String>,
        /// What went wrong.
        message: String,
    },
    /// A task went into another phase.
    PhaseChanged {
        /// The task.
        task: String,
        /// The phase until now.
        before: String,
        /// The phase from here on.
        after: String,
    },
    /// A trigger's condition held.
    Triggered {
        /// Its name.
        trigger: String,
        /// The task that it looks at.
        task: String,
        /// What it held by.
        evidence: TriggerEvidence,
        /// What is done, or would have been.
        actions: Vec<TriggerAction>,
        /// Whether nothing is done.
        dry_run: bool,
        /// The folder of the branch, if there is one.
        branch: Option<PathBuf>,
    },
    /// A trigger's command could not be started.
    TriggerFailed {
        /// The trigger's name.
        trigger: String,
        /// What went wrong.
        message: String,
    },
    /// The run was stopped, after a checkpoint.
    Stopped {
        /// The number of the signal that asked for it, if one did.
        signal: Option<usize>,
    },
    /// The run reached its last step.
    Finished,
}

impl Event {
    /// The event, now.
    #[must_use]
    pub fn at(self, step: u64) -> EventRecord {
        EventRecord { step, time: jiff::Timestamp::now(), event: self }
    }
}
