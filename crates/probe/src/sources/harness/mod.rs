//! Task and group files of lm-evaluation-harness (version 0.4.13), read without changes.
//!
//! `yaml` (values with their positions) → `tree` (includes, groups, names) → `config` (keys of a task) →
//! `dataset` (records) → `functions` (built-in versions of Python functions) → `fields` (text, target and
//! choices of a record) → `build` (a [`Task`](crate::Task) with its few-shot examples).

mod build;
mod config;
mod dataset;
mod fields;
mod functions;
mod scoring;
mod tree;
mod yaml;

use std::path::{Path, PathBuf};

use crate::error::ProbeError;
use crate::sources::suite_content::SuiteContent;

/// Reads the tasks of the task or group file at `path`, and the groups that are aggregated. Data that is not
/// next to a file is searched in the `data_dirs`.
pub(crate) fn read_suite(path: &Path, data_dirs: &[PathBuf]) -> Result<SuiteContent, ProbeError> {
    let tree::HarnessContents { tasks, groups } = tree::read(path)?;
    let task = |fields| build::task(&config::TaskConfig::new(fields)?, data_dirs);
    let tasks = tasks.into_iter().map(task).collect::<Result<Vec<_>, _>>()?;
    Ok(SuiteContent { tasks, groups: (!groups.is_empty()).then_some(groups) })
}

#[cfg(test)]
mod tests;
