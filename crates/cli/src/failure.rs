//! Failures of commands: messages and exit codes.

use std::io;

use fineline_data::DataError;
use fineline_diagnostics::{Classified, ErrorClass, with_causes};
use fineline_hub::HubError;
use fineline_run::RunError;
use fineline_run::config::ConfigError;
use fineline_run::probe::ProbeError;
use fineline_run::tools::published::PublishedError;
use fineline_run::tools::sweep::SweepError;

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

impl Classified for UsageError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}

/// Prints why a command failed.
pub(crate) fn print_failure(error: &anyhow::Error) {
    print_error(&with_causes(error.as_ref()));
}

/// Returns the exit code of a command that failed.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match class_of(error) {
        ErrorClass::Usage | ErrorClass::Configuration => 2,
        ErrorClass::Environment | ErrorClass::Internal => 1,
    }
}

/// Returns the class of the outermost cause that has one.
fn class_of(error: &anyhow::Error) -> ErrorClass {
    fn class<E: Classified + 'static>(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorClass> {
        cause.downcast_ref::<E>().map(Classified::class)
    }
    let classes = [
        class::<UsageError>,
        class::<RunError>,
        class::<SweepError>,
        class::<PublishedError>,
        class::<ConfigError>,
        class::<ProbeError>,
        class::<HubError>,
        class::<DataError>,
        class::<fineline_model::ModelWeightsError>,
        class::<fineline_model::ModelConfigError>,
        class::<fineline_weights::WeightsError>,
    ];
    error
        .chain()
        .find_map(|cause| classes.iter().find_map(|class| class(cause)))
        .unwrap_or(ErrorClass::Environment)
}

/// Returns whether the reader of standard output closed the pipe, as `head` does. That is not a failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
