//! A run whose inputs are ready, before its starting state is chosen.

use super::options::TrainOptions;

use crate::config::Resolved;
use crate::error::RunError;
use crate::prepare::{Prepared, prepare};
use crate::progress::RunProgress;
use crate::records::events::Event;
use crate::records::identity::RunIdentity;
use crate::records::lock::refuse_foreign_files;
use crate::start::ResumeRequest;
use crate::start::changes::{changes_since_start, data_changes};
use crate::start::resume_point::ResumeContext;
use fineline_layout::RunDirectory;

/// A run whose inputs are ready, before its starting state is chosen.
pub(super) struct PreparedRun<'a> {
    pub(super) resolved: &'a Resolved,
    pub(super) options: &'a TrainOptions,
    pub(super) directory: &'a RunDirectory,
    /// State to start from.
    resume: ResumeRequest,
    /// Identity of the run in the directory, if there is one.
    pub(super) stored: Option<RunIdentity>,
    /// Inputs of the run.
    pub(super) prepared: Prepared,
    /// Differences from the configuration of the last start, as events.
    pub(super) changes: Vec<Event>,
}

impl<'a> PreparedRun<'a> {
    pub(super) fn find(
        resolved: &'a Resolved,
        options: &'a TrainOptions,
        directory: &'a RunDirectory,
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Self, RunError> {
        refuse_foreign_files(directory)?;
        let changes = changes_since_start(&resolved.config, directory, &options.allow_changes)?;
        let prepared = prepare(resolved, &options.stop, progress)?;
        let stored = RunIdentity::read(directory)?;
        let resume = options.resume.clone();
        Ok(Self { resolved, options, directory, resume, stored, prepared, changes })
    }

    /// Prepares another start, from the run's newest checkpoint.
    pub(super) fn rewind(&mut self) -> Result<(), RunError> {
        self.resume = ResumeRequest::Auto;
        self.changes.clear();
        self.stored = RunIdentity::read(self.directory)?;
        Ok(())
    }

    pub(super) fn resume_context(&self) -> ResumeContext<'_> {
        ResumeContext {
            resolved: self.resolved,
            directory: self.directory,
            stored: self.stored.as_ref(),
            dataset: &self.prepared.dataset,
            resume: &self.resume,
            fetched: self.options.fetched.as_ref(),
        }
    }

    /// Returns the differences in tokenizer and data from the last start, if the run is resumed.
    pub(super) fn data_changes(&self, is_resumed: bool) -> Result<Vec<Event>, RunError> {
        match self.stored.as_ref().filter(|_| is_resumed) {
            Some(stored) => data_changes(stored, &self.prepared, self.directory, &self.options.allow_changes),
            None => Ok(Vec::new()),
        }
    }
}

/// Refuses a configuration that would end the run before the step that it has reached.
///
/// # Errors
/// [`RunError::Config`] at the key of the length.
pub(super) fn refuse_shorter_run(resolved: &Resolved, step: u64) -> Result<(), RunError> {
    let config = &resolved.config;
    let total = config.train.total_steps(config.data.seq_len)?;
    if step <= total {
        return Ok(());
    }
    let key = if config.train.tokens.is_some() { "train.tokens" } else { "train.steps" };
    let message = format!(
        "is {total} steps, but this run has already done {step}; increase it, or go back with `--resume \
         CHECKPOINT`"
    );
    Err(resolved.invalid(key, message).into())
}
