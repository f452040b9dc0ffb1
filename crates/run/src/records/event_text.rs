//! Text of events, for the console.

use std::fmt;

use fineline_train::{GuardAction, RowRange};

use super::events::Event;
use super::identity::InitRecord;

impl fmt::Display for Event {
    #[allow(clippy::too_many_lines, reason = "one arm for each event")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Initialized { init } => {
                let InitRecord { from, step, tokens, position_from, not_exact, .. } = &**init;
                write!(
                    f,
                    "starting from {from} at step {step} ({tokens} tokens; by {position_from}); \
                     not exact: {}",
                    not_exact.join("; ")
                )
            }
            Self::Resumed { checkpoint } => write!(f, "resumed from {}", checkpoint.display()),
            Self::ConfigChanged { key, before, after } => write!(f, "changed: {key}: {before} -> {after}"),
            Self::Checkpoint { path, bytes, .. } => {
                write!(f, "checkpoint {} ({bytes} bytes)", path.display())
            }
            Self::CheckpointDamaged { path, reason } => {
                write!(f, "warning: skipped the damaged checkpoint {}: {reason}", path.display())
            }
            Self::CheckpointFailed { path, reason, bytes, consecutive } => write!(
                f,
                "warning: can't write the checkpoint {} ({bytes} bytes): {reason}; {consecutive} \
                 consecutive failures. Training continues, and the checkpoint is retried",
                path.display()
            ),
            Self::CheckpointDelayed { checkpoint_step, seconds } => write!(
                f,
                "warning: training waits for the checkpoint of step {checkpoint_step}, whose writing has \
                 taken {seconds:.1} s so far"
            ),
            Self::LogWriteFailed { path, reason } => {
                write!(
                    f,
                    "warning: can't write {}: {reason}; log lines are buffered in memory",
                    path.display()
                )
            }
            Self::LogWriteRecovered { path } => write!(f, "{} can be written again", path.display()),
            Self::Uploaded { checkpoint_step, url, bytes, .. } => {
                write!(f, "uploaded the checkpoint of step {checkpoint_step} to {url} ({bytes} bytes)")
            }
            Self::UploadFailed { what, reason, attempts, retry_s } => {
                write!(f, "warning: can't upload {what}: {reason} (attempt {attempts}; ")?;
                match retry_s {
                    Some(seconds) => write!(f, "next in {seconds:.0} s)"),
                    None => f.write_str("no further attempt)"),
                }
            }
            Self::UploadSuperseded { checkpoint_step, by } => {
                write!(
                    f,
                    "the checkpoint of step {checkpoint_step} was removed before it was uploaded; that of \
                     step {by} is next"
                )
            }
            Self::UploadIncomplete { url, copied } => {
                write!(f, "warning: {url} is incomplete: the newest checkpoint isn't uploaded; ")?;
                match copied {
                    Some(step) => write!(f, "the newest one there is that of step {step}"),
                    None => f.write_str("none has been uploaded since this start"),
                }
            }
            Self::Downloaded { url } => write!(f, "downloaded {url}"),
            Self::UpdateSkipped { reason, consecutive } => {
                write!(f, "warning: update skipped: {reason} ({consecutive} consecutive)")
            }
            Self::GuardTriggered { alarm } => {
                let done = match alarm.action {
                    GuardAction::Log => "",
                    GuardAction::ReduceLr => "; the learning rate is reduced",
                    GuardAction::Skip => "; the update is skipped",
                    GuardAction::SkipData => "; the update and the next rows are skipped",
                    GuardAction::Rewind => "; the run is rewound to a checkpoint",
                    GuardAction::Stop => "; the run stops",
                };
                write!(f, "warning: {alarm}{done}")
            }
            Self::Rewound { from, skipped_rows: RowRange { start, end }, count, reason, .. } => {
                write!(
                    f,
                    "warning: rewound from step {from} (rewind {count} to this checkpoint): {reason}; \
                     rows {start} to {} are skipped",
                    end.saturating_sub(1)
                )
            }
            Self::EpochStarted { source, epoch } => {
                write!(f, "{source}: epoch {epoch} is complete, the next one starts")
            }
            Self::EvaluationSkipped { suite, budget_used } => {
                write!(
                    f,
                    "evaluation of {suite} skipped: evaluation has taken {:.1} % of the time",
                    100.0 * budget_used
                )
            }
            Self::EvaluationFinished { suite, limit, n_items, seconds, budget_used, .. } => {
                let limit = limit.map_or_else(String::new, |limit| format!(", at most {limit} per task"));
                let percent = 100.0 * budget_used;
                write!(
                    f,
                    "evaluation of {suite}: {n_items} items{limit}, {seconds:.1} s; {percent:.1} % of the \
                     time so far"
                )
            }
            Self::EvaluationFailed { task: Some(task), message } => write!(f, "warning: {task}: {message}"),
            Self::EvaluationFailed { task: None, message } => {
                write!(f, "warning: an evaluation round failed: {message}")
            }
            Self::PhaseChanged { task, before, after } => write!(f, "{task}: {before} -> {after}"),
            Self::Triggered { trigger, task, evidence, actions, dry_run, branch } => {
                let names = actions.iter().map(|action| format!("{action:?}").to_lowercase());
                let names = names.collect::<Vec<_>>().join(", ");
                let done = match (names.is_empty(), dry_run) {
                    (true, _) => String::new(),
                    (false, true) => format!("; would: {names}"),
                    (false, false) => format!("; {names}"),
                };
                write!(f, "trigger {trigger}: {task} {evidence}{done}")?;
                branch.as_ref().map_or(Ok(()), |branch| write!(f, " ({})", branch.display()))
            }
            Self::TriggerFailed { trigger, message } => write!(f, "warning: trigger {trigger}: {message}"),
            Self::Stopped { signal: Some(signal) } => write!(f, "stopped by signal {signal}"),
            Self::Stopped { signal: None } => f.write_str("stopped"),
            Self::Finished => f.write_str("finished: all steps are complete"),
        }
    }
}
