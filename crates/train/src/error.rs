//! The error of this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

use crate::alarm::{GuardAlarm, SkipReason};

/// An error of an [`Observer`](crate::Observer), which may be of any type.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// Why training could not begin, go on, or be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A value of the configuration that cannot be.
    #[error("{key} {reason}")]
    Config {
        /// The key with its section, as `optim.lr`.
        key: &'static str,
        /// What is wrong, what was expected.
        reason: String,
    },

    /// A row that does not fit the model or the other rows.
    #[error("row {row} of the batch of step {step}: {reason}")]
    Row {
        /// The step, counted from 1.
        step: u64,
        /// Place within the global batch.
        row: usize,
        /// What is wrong, what was expected.
        reason: String,
    },

    /// The guard stopped the run.
    #[error(
        "stopped after {count} skipped steps in a row (guard.max_skips), the last of them step {step}: {reason}. \
         The weights are those from before the first of them; a lower optim.lr or a look at the data of these \
         steps (`data show --step {step}`) is the way on"
    )]
    TooManySkips {
        /// How many steps in a row were skipped.
        count: u32,
        /// The last of them.
        step: u64,
        /// Why it was skipped.
        reason: SkipReason,
    },

    /// A rule of the guard stopped the run.
    #[error(
        "stopped by the guard at step {}: {alarm}. The newest checkpoint is from before it; a lower optim.lr, another action (`[guard]`) or a look at \
         the data (`data show --step {}`) is the way on",
        alarm.at, alarm.at
    )]
    Guard {
        /// The rule, with its evidence.
        alarm: GuardAlarm,
    },

    /// The guard has lowered the rate too often.
    #[error(
        "stopped at step {step}: the guard would lower the learning rate for the {count}. time (guard.max_lr_reductions). The run needs a lower optim.lr"
    )]
    TooManyLrReductions {
        /// How many times it was to be lowered.
        count: u32,
        /// The step of the last time.
        step: u64,
    },

    /// A file or folder that could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),

    /// A checkpoint that could not be written. What was written of it is removed, earlier ones are untouched.
    #[error("cannot write the checkpoint {path} ({size}){}", hint(.source), size = ByteCount(*.needed))]
    CheckpointWrite {
        /// The folder it was to become.
        path: PathBuf,
        /// Bytes that it needs.
        needed: u64,
        /// What the system said.
        source: io::Error,
    },

    /// As many checkpoints in a row could not be written as may.
    #[error(
        "stopped after {count} checkpoints in a row that could not be written (checkpoint.max_failures): {last}"
    )]
    TooManyFailures {
        /// How many.
        count: u32,
        /// The last one's error.
        last: Box<TrainError>,
    },

    /// The folder of checkpoints was taken away.
    #[error("{} is gone: somebody removed or unmounted the run's folder while it trained; put it back and start the run again", path.display())]
    CheckpointsDirectoryGone {
        /// The folder.
        path: PathBuf,
    },

    /// A checkpoint whose files are not what its manifest says.
    #[error("the checkpoint {path} is damaged: {reason}")]
    Damaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        reason: String,
    },

    /// A checkpoint of another model than the run's.
    #[error("the checkpoint {path} is of another model: {difference}")]
    OtherModel {
        /// The checkpoint's folder.
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
            Self::Config { .. } => ErrorClass::Configuration,
            Self::TooManyFailures { last, .. } => last.class(),
            Self::Weights(error) => error.class(),
            Self::ModelConfig(error) => error.class(),
            _ => ErrorClass::Environment,
        }
    }
}

impl TrainError {
    pub(crate) fn config(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Config { key, reason: reason.into() }
    }
}

/// What the user can do about a failed write.
fn hint(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full. Earlier checkpoints are whole; free that much space and start the run again"
                .to_owned()
        }
        _ => format!(": {source}"),
    }
}

/// Bytes as people read them: `12.3 MiB`.
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
    fn bytes_are_read_by_people() {
        assert_eq!(ByteCount(0).to_string(), "0 bytes");
        assert_eq!(ByteCount(1023).to_string(), "1023 bytes");
        assert_eq!(ByteCount(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteCount(80_860_987_392).to_string(), "75.3 GiB");
        assert_eq!(ByteCount(u64::MAX).to_string(), "16777216.0 TiB");
    }

    #[test]
    fn a_full_disk_names_the_folder_and_the_bytes() {
        let error = TrainError::CheckpointWrite {
            path: "run/checkpoints/step-00000200".into(),
            needed: 3 << 20,
            source: io::ErrorKind::StorageFull.into(),
        };
        let message = error.to_string();
        assert!(message.contains("run/checkpoints/step-00000200 (3.0 MiB): the disk is full"), "{message}");
    }
}
