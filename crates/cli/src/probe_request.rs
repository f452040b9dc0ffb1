//! The evaluation arguments that `probe`, `sweep` and `data fetch` share.

use std::path::Path;

use fineline_run::RunError;
use fineline_run::probe::ProbeError;
use fineline_run::tools::offline_probe::OfflineProbe;

use crate::args::EvaluationArgs;
use crate::failure::UsageError;

/// Returns the evaluation that the arguments describe, of a checkpoint or of each checkpoint of a series.
pub(crate) fn offline_probe(checkpoint: &Path, args: &EvaluationArgs) -> OfflineProbe {
    OfflineProbe {
        checkpoint: checkpoint.to_owned(),
        suite: args.suite.clone(),
        tasks: args.tasks.clone(),
        limit: args.limit.map(|limit| limit as usize),
        device: args.device,
        data: args.data_dir.clone(),
        allow_code_execution: args.allow_code_execution,
    }
}

/// Names the flag that is wrong, if the error is about one.
pub(crate) fn with_flag(error: RunError) -> anyhow::Error {
    let flag = match &error {
        RunError::Probe(ProbeError::UnknownSuite { .. }) => "--suite",
        RunError::Probe(ProbeError::UnknownTask { .. }) => "--tasks",
        _ => return error.into(),
    };
    UsageError(format!("{flag}: {error}")).into()
}
