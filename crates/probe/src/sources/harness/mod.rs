//! Task and group files of lm-evaluation-harness (version 0.4.13), read as they are.
//!
//! `yaml` (a file's values, each with its place) → `tree` (includes, groups, names) → `config` (one task's keys) → `dataset` (records) → `functions` (what
//! files call in Python, built in) → `fields` (text, target and choices of a record) → `build` (a [`Task`](crate::Task) with its examples).

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

/// The tasks of the task or group file at `path`, and the groups that are aggregated; data that is not beside a file is looked for in the `data_folders`.
pub(crate) fn read_suite(path: &Path, data_folders: &[PathBuf]) -> Result<SuiteContent, ProbeError> {
    let tree::HarnessContents { tasks, groups } = tree::read(path)?;
    let task = |fields| build::task(&config::TaskConfig::new(fields)?, data_folders);
    let tasks = tasks.into_iter().map(task).collect::<Result<Vec<_>, _>>()?;
    Ok(SuiteContent { tasks, groups: (!groups.is_empty()).then_some(groups) })
}

#[cfg(test)]
mod tests;
