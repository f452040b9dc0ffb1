//! The error type of this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass, Problem, Problems};
use fineline_layout::UnsupportedSchema;

use crate::alarm::{GuardAlarm, SkipReason};

/// An error of an [`Observer`](crate::Observer), which may be of any type.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// An error of training: at its start, in a step, or with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Values of the configuration that can't be used.
    #[error(transparent)]
    Config(#[from] Problems),

    /// A row that doesn't fit the model or the other rows.
    #[error("row {row} of the batch of step {step}: {reason}")]
    Row {
        /// The step, counted from 1.
        step: u64,
        /// Index within the global batch.
        row: usize,
        /// Description of the problem, with the expected value.
        reason: String,
    },

    /// Too many consecutive steps were skipped.
    #[error(
        "stopped after {count} consecutive skipped steps (guard.max_skips), the last of them step {step}: \
         {reason}. The weights are those before the first of these steps; lower optim.lr, or inspect the \
         data of these steps (`fineline data show --step {step}`)"
    )]
    TooManySkips {
        /// Number of consecutive skipped steps.
        count: u32,
        /// The last of these steps.
        step: u64,
        /// Reason for skipping the last of them.
        reason: SkipReason,
    },

    /// A rule of the guard with the action `stop` was violated.
    #[error(
        "stopped by the guard at step {}: {alarm}. The newest checkpoint precedes this step; lower optim.lr, \
         choose another action in [guard], or inspect the data (`fineline data show --step {}`)",
        alarm.at, alarm.at
    )]
    Guard {
        /// The rule and the evidence.
        alarm: GuardAlarm,
    },

    /// The guard has reduced the learning rate too often.
    #[error(
        "stopped at step {step}: {count} reductions of the learning rate exceed guard.max_lr_reductions; \
         lower optim.lr"
    )]
    TooManyLrReductions {
        /// Number of reductions, including the one that was refused.
        count: u32,
        /// The step of the refused one.
        step: u64,
    },

    /// A file or directory that could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),

    /// A checkpoint that could not be written. Its partial files are removed, earlier checkpoints are
    /// untouched.
    #[error("cannot write the checkpoint {path} ({size}){}", write_hint(.source), size = ByteCount(*.needed))]
    CheckpointWrite {
        /// The directory that it would have become.
        path: PathBuf,
        /// Size of the checkpoint in bytes.
        needed: u64,
        /// The error of the system.
        source: io::Error,
    },

    /// Too many consecutive checkpoints could not be written.
    #[error(
        "stopped after {count} consecutive checkpoints that could not be written (checkpoint.max_failures): \
         {last}"
    )]
    TooManyFailures {
        /// Number of consecutive failures.
        count: u32,
        /// The error of the last one.
        last: Box<TrainError>,
    },

    /// The directory of checkpoints disappeared.
    #[error(
        "{} is gone: the run directory was removed or unmounted during training; restore it and start the \
         run again",
        path.display()
    )]
    CheckpointsDirectoryGone {
        /// The directory.
        path: PathBuf,
    },

    /// A checkpoint whose files don't match its manifest.
    #[error("the checkpoint {path} is damaged: {reason}")]
    Damaged {
        /// The directory of the checkpoint.
        path: PathBuf,
        /// The file, and what is wrong with it.
        reason: String,
    },

    /// A file of a checkpoint that was written by a newer version of fineline.
    #[error("{} was written by a newer fineline: it {source}", path.display())]
    UnsupportedSchema {
        /// The file.
        path: PathBuf,
        /// The versions.
        source: UnsupportedSchema,
    },

    /// A checkpoint of a different model than that of the run.
    #[error("the checkpoint {path} is of a different model: {difference}")]
    OtherModel {
        /// The directory of the checkpoint.
        path: PathBuf,
        /// The key or tensor, and both values.
        difference: String,
    },

    /// Weights that could not be read.
    #[error(transparent)]
    Weights(#[from] fineline_model::ModelWeightsError),

    /// A `config.json` that could not be read.
    #[error(transparent)]
    ModelConfig(#[from] fineline_model::ModelConfigError),

    /// An observer failed.
    #[error(transparent)]
    Observer(#[from] ObserverError),
}

impl Classified for TrainError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(_) => ErrorClass::Configuration,
            Self::TooManyFailures { last, .. } => last.class(),
            Self::Weights(error) => error.class(),
            Self::ModelConfig(error) => error.class(),
            _ => ErrorClass::Environment,
        }
    }
}

impl From<Problem> for TrainError {
    fn from(problem: Problem) -> Self {
        Self::Config(problem.into())
    }
}

/// Returns the reason of a failed write, with advice.
fn write_hint(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full. Earlier checkpoints are complete; free that much space and start the run \
             again"
                .to_owned()
        }
        _ => format!(": {source}"),
    }
}

/// Formats a number of bytes for people: `12.3 MiB`.
pub(crate) struct ByteCount(pub(crate) u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
        let exponent = (self.0.max(1).ilog2() / 10).min(4);
        match exponent {
            0 => write!(f, "{} bytes", self.0),
            _ => write!(
                f,
                "{:.1} {}",
                self.0 as f64 / f64::from(10 * exponent).exp2(),
                UNITS[exponent as usize]
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_have_units() {
        assert_eq!(ByteCount(0).to_string(), "0 bytes");
        assert_eq!(ByteCount(1023).to_string(), "1023 bytes");
        assert_eq!(ByteCount(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteCount(80_860_987_392).to_string(), "75.3 GiB");
        assert_eq!(ByteCount(u64::MAX).to_string(), "16777216.0 TiB");
    }

    #[test]
    fn a_full_disk_error_names_the_directory_and_the_size() {
        let error = TrainError::CheckpointWrite {
            path: "run/checkpoints/step-00000200".into(),
            needed: 3 << 20,
            source: io::ErrorKind::StorageFull.into(),
        };
        let message = error.to_string();
        assert!(message.contains("run/checkpoints/step-00000200 (3.0 MiB): the disk is full"), "{message}");
    }
}
