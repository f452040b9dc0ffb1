//! The flags that `probe`, `sweep` and `data fetch` share.

use std::path::Path;

use fineline_run::RunError;
use fineline_run::offline::OfflineProbe;
use fineline_run::probe::ProbeError;

use crate::args::AskedArgs;
use crate::failure::UsageError;

/// What the flags ask of a checkpoint, or of each of those that `checkpoint` stands for.
pub(crate) fn asked_of(checkpoint: &Path, asked: &AskedArgs) -> OfflineProbe {
    OfflineProbe {
        checkpoint: checkpoint.to_owned(),
        suite: asked.suite.clone(),
        tasks: asked.tasks.clone(),
        limit: asked.limit.map(|limit| limit as usize),
        device: asked.device,
        data: asked.data.clone(),
        allow_code_execution: asked.allow_code_execution,
    }
}

/// The flag at fault, where it is one.
pub(crate) fn by_flag(error: RunError) -> anyhow::Error {
    let flag = match &error {
        RunError::Probe(ProbeError::UnknownSuite { .. }) => "--suite",
        RunError::Probe(ProbeError::UnknownTask { .. }) => "--tasks",
        _ => return error.into(),
    };
    UsageError(format!("{flag}: {error}")).into()
}
