//! Errors of sweeps.

use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

use crate::error::RunError;

/// An error of a sweep over a series of checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The checkpoints, the suite or the directory can't be read or written.
    #[error(transparent)]
    Run(RunError),
    /// There are no model directories.
    #[error(
        "{}: no checkpoints here; expected directories with a config.json, the directory of a run, or a \
         pattern such as `models/open_llama_7b_*`",
        model.display()
    )]
    NoCheckpoints {
        /// Where they were expected.
        model: PathBuf,
    },
    /// The pattern is invalid.
    #[error("{pattern}: {message}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Description of the problem.
        message: String,
    },
    /// The revision doesn't exist.
    #[error(
        "no checkpoint `{revision}`{}; there are {count}, from {first} to {last}",
        hint.as_ref().map(|hint| format!(" (did you mean `{hint}`?)")).unwrap_or_default()
    )]
    NoRevision {
        /// The revision.
        revision: String,
        /// The most similar revision.
        hint: Option<String>,
        /// Number of revisions.
        count: usize,
        /// The first revision by name.
        first: String,
        /// The last revision by name.
        last: String,
    },
    /// The range of revisions is invalid.
    #[error(
        "`{range}` isn't a range of revisions: expected `{{FIRST..LAST}}` or `{{FIRST..LAST..STRIDE}}`, such \
         as `ckpt_{{000..356..10}}`"
    )]
    Range {
        /// The range.
        range: String,
    },
    /// The position of a checkpoint in training is unknown.
    #[error(
        "{revision}: the steps and tokens of this checkpoint are unknown; give --tokens-per-checkpoint (for \
         numbered ones), --tokens-per-step (for those with a step in their names), or --axis FILE.csv with \
         the columns revision,step,tokens"
    )]
    NoPosition {
        /// The revision.
        revision: String,
    },
    /// The table of positions is invalid.
    #[error("{}:{line}: {message}", path.display())]
    Axis {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Description of the problem.
        message: String,
    },
    /// Two checkpoints have the same step, by which logs identify them.
    #[error("{} and {} are both at step {step}", revisions[0], revisions[1])]
    SameStep {
        /// The checkpoints.
        revisions: [String; 2],
        /// The step.
        step: u64,
    },
    /// A checkpoint can't be read.
    #[error("{revision}: {message}; `--keep-going` skips what can't be read")]
    Unreadable {
        /// The checkpoint.
        revision: String,
        /// Description of the problem.
        message: String,
    },
    /// The directory is that of a run.
    #[error("{}: this is the directory of a run; give the sweep its own directory (--out)", dir.display())]
    IsRunDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory has a sweep with other settings.
    #[error(
        "{}: the sweep in this directory was started with another value for {what}; give this one its own \
         directory (--out)",
        dir.display()
    )]
    Other {
        /// The directory.
        dir: PathBuf,
        /// The setting that differs.
        what: &'static str,
    },
    /// The directory has a checkpoint that isn't in this sweep, or is at another position.
    #[error(
        "{}: its log has {revision}, which isn't at that position of this sweep: checkpoints can only be \
         added after the last; give this one its own directory (--out)",
        dir.display()
    )]
    OtherOrder {
        /// The directory.
        dir: PathBuf,
        /// The checkpoint in the log.
        revision: String,
    },
    /// The items or the prompts of a task have changed.
    #[error(
        "{}: the data or prompts of task `{task}` have changed since this log; restore them, or give the \
         sweep its own directory (--out)",
        dir.display()
    )]
    OtherQuestions {
        /// The directory.
        dir: PathBuf,
        /// The task.
        task: String,
    },
}

impl Classified for SweepError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Run(error) => error.class(),
            Self::Unreadable { .. } | Self::OtherQuestions { .. } => ErrorClass::Environment,
            _ => ErrorClass::Usage,
        }
    }
}

impl<E: Into<RunError>> From<E> for SweepError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}
