//! Failures of commands: messages and exit codes.

use std::io;

use fineline_data::DataError;
use fineline_files::with_causes;
use fineline_model::ModelWeightsError;
use fineline_run::RunError;
use fineline_run::config::ConfigError;
use fineline_run::probe::ProbeError;

use crate::messages::print_error;

/// Wrong arguments that clap can't detect.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Prints why a command failed.
pub(crate) fn print_failure(error: &anyhow::Error) {
    print_error(&with_causes(error.as_ref()));
}

/// Returns the exit code of a command that failed.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if is_usage_error(error) { 2 } else { 1 }
}

/// Returns whether the arguments or the configuration are wrong.
fn is_usage_error(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<UsageError>()
            || cause.downcast_ref::<ModelWeightsError>().is_some_and(ModelWeightsError::is_usage)
            || cause.downcast_ref::<DataError>().is_some_and(DataError::is_configuration)
            || cause.downcast_ref::<RunError>().is_some_and(is_usage)
    })
}

fn is_usage(error: &RunError) -> bool {
    match error {
        RunError::Data(error) => error.is_configuration(),
        RunError::Sweep(error) => error.is_usage(),
        RunError::Config(_)
        | RunError::ConfigChanged { .. }
        | RunError::RowsRecounted { .. }
        | RunError::Exists { .. }
        | RunError::DeviceNotBuilt { .. }
        | RunError::NoDevice { .. }
        | RunError::NoPrecision { .. }
        | RunError::MirrorInUse { .. }
        | RunError::NotFetched { .. }
        | RunError::NoStorage { .. }
        | RunError::UnknownAllowance { .. }
        | RunError::ForeignFiles { .. }
        | RunError::OtherRunsCheckpoint { .. }
        | RunError::Probe(ProbeError::UnknownSuite { .. } | ProbeError::UnknownTask { .. }) => true,
        _ => false,
    }
}

/// Returns whether the reader of standard output closed the pipe, as `head` does. That is not a failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
