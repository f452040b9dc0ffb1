//! `events.jsonl`: everything in a run that isn't a step.

use std::path::PathBuf;

use fineline_train::{GuardAlarm, RowRange};
use serde::{Deserialize, Serialize};

use super::identity::InitRecord;
use super::trigger_evidence::TriggerEvidence;
use crate::config::TriggerAction;

/// One line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventRecord {
    /// The step after which it happened. 0 is before the first step.
    pub step: u64,
    /// Time.
    pub time: jiff::Timestamp,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Training started at step 0.
    Started,
    /// Training resumed from a checkpoint.
    Resumed {
        /// Directory of the checkpoint.
        checkpoint: PathBuf,
    },
    /// Training started from released weights.
    Initialized {
        /// The weights, and what is exact about continuing from them.
        init: Box<InitRecord>,
    },
    /// A configuration value differs from that of the last start.
    ConfigChanged {
        /// Key of the value.
        key: String,
        /// Value of the last start.
        before: serde_json::Value,
        /// Value from now on.
        after: serde_json::Value,
    },
    /// A checkpoint is complete and has its final name.
    Checkpoint {
        /// Directory of the checkpoint.
        path: PathBuf,
        /// Seconds from the snapshot to the final name, in the background.
        seconds: f64,
        /// Seconds for which training was blocked.
        #[serde(default)]
        blocked_s: f64,
        /// Size in bytes.
        bytes: u64,
    },
    /// A checkpoint could not be written. Training continues, and the checkpoint is retried soon.
    CheckpointFailed {
        /// Directory that the checkpoint would have had.
        path: PathBuf,
        /// Error of the operating system.
        reason: String,
        /// Bytes that the checkpoint needs.
        bytes: u64,
        /// Number of consecutive failures, with this one.
        consecutive: u32,
    },
    /// A checkpoint is due while the previous one is still being written. Training waits for it.
    CheckpointDelayed {
        /// Step of the checkpoint that is being written.
        checkpoint_step: u64,
        /// Seconds since its writing started.
        seconds: f64,
    },
    /// A log can't be written. The lines of all logs are buffered in memory, up to `log.max_buffered_lines`.
    /// Those of TensorBoard are lost.
    LogWriteFailed {
        /// The file, or the directory of TensorBoard.
        path: PathBuf,
        /// Error of the operating system.
        reason: String,
    },
    /// The buffered lines have been written.
    LogWriteRecovered {
        /// The file, or the directory of TensorBoard.
        path: PathBuf,
    },
    /// A checkpoint is complete in `storage.remote`.
    Uploaded {
        /// Step of the checkpoint, which may be earlier than the event's.
        checkpoint_step: u64,
        /// Address.
        url: String,
        /// Size in bytes.
        bytes: u64,
        /// Seconds since the checkpoint was complete on disk.
        seconds: f64,
        /// Steps whose remote checkpoints were removed, by the rules of `[checkpoint]`.
        removed: Vec<u64>,
    },
    /// Something could not be uploaded to `storage.remote`. It is retried, and training continues.
    UploadFailed {
        /// Name of what was uploaded.
        what: String,
        /// Description of the error.
        reason: String,
        /// Number of attempts so far.
        attempts: u32,
        /// Seconds until the next attempt. Null if there is none.
        retry_s: Option<f64>,
    },
    /// A checkpoint will not be uploaded, because the run has removed it for a newer one.
    UploadSuperseded {
        /// Step of the checkpoint.
        checkpoint_step: u64,
        /// Step of the newer one.
        by: u64,
    },
    /// The run ended, and its newest checkpoint isn't complete in `storage.remote`.
    UploadIncomplete {
        /// Address of the run there.
        url: String,
        /// Newest step that this start has uploaded.
        copied: Option<u64>,
    },
    /// The run was downloaded from remote storage.
    Downloaded {
        /// Address of the checkpoint.
        url: String,
    },
    /// A damaged checkpoint was skipped on a resume.
    CheckpointDamaged {
        /// Directory of the checkpoint.
        path: PathBuf,
        /// Description of the damage.
        reason: String,
    },
    /// An update was skipped.
    UpdateSkipped {
        /// Reason.
        reason: String,
        /// Number of consecutive skipped updates, with this one.
        consecutive: u32,
    },
    /// A step broke a rule of the guard.
    GuardTriggered {
        /// The rule, its action, and the evidence.
        #[serde(flatten)]
        alarm: GuardAlarm,
    },
    /// The run was rewound to the checkpoint of this event's step. Later steps are undone.
    Rewound {
        /// Step from which it was rewound.
        from: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Rows that are skipped from now on, by their numbers in the run.
        skipped_rows: RowRange,
        /// Number of rewinds to this checkpoint, with this one.
        count: u32,
        /// Reason, as text.
        reason: String,
        /// The guard's alarm, if the guard caused it.
        alarm: Option<GuardAlarm>,
        /// The trigger, if one caused it.
        trigger: Option<String>,
    },
    /// All rows of a source have been trained on, and a new epoch of it started.
    EpochStarted {
        /// Name of the source.
        source: String,
        /// Number of complete epochs.
        epoch: u64,
    },
    /// A suite was evaluated.
    EvaluationFinished {
        /// Index of its table in `[[probes]]`.
        table: usize,
        /// Name of the suite.
        suite: String,
        /// Maximum number of items per task. Null if all were evaluated.
        limit: Option<usize>,
        /// Number of items, of all tasks.
        n_items: usize,
        /// Seconds of the evaluation, with logging.
        seconds: f64,
        /// Fraction of the wall time that the rounds of this table have taken so far.
        budget_used: f64,
    },
    /// A round was skipped to stay within the budget.
    EvaluationSkipped {
        /// Name of the suite.
        suite: String,
        /// Fraction of the wall time that the rounds of its table have taken so far.
        budget_used: f64,
    },
    /// A task could not be evaluated, or the results of a round could not be stored. Training continues.
    EvaluationFailed {
        /// The task. Null if the whole round failed.
        task: Option<String>,
        /// Description of the error.
        message: String,
    },
    /// A task entered another phase.
    PhaseChanged {
        /// The task.
        task: String,
        /// Phase of the previous round.
        before: String,
        /// New phase.
        after: String,
    },
    /// The condition of a trigger held.
    Triggered {
        /// Name of the trigger.
        trigger: String,
        /// Task of the trigger.
        task: String,
        /// Values for which the condition held.
        evidence: TriggerEvidence,
        /// Actions that are taken, or would be in a dry run.
        actions: Vec<TriggerAction>,
        /// Whether this is a dry run, without actions.
        dry_run: bool,
        /// Directory of the branch, if one was prepared.
        branch: Option<PathBuf>,
    },
    /// The command of a trigger could not be started.
    TriggerFailed {
        /// Name of the trigger.
        trigger: String,
        /// Description of the error.
        message: String,
    },
    /// The run was stopped, after a checkpoint.
    Stopped {
        /// Number of the signal, if one requested it.
        signal: Option<usize>,
    },
    /// The run reached its last step.
    Finished,
}

impl Event {
    /// Returns the record of this event at `step` and the current time.
    #[must_use]
    pub fn at(self, step: u64) -> EventRecord {
        EventRecord { step, time: jiff::Timestamp::now(), event: self }
    }
}
