//! Task and group files of lm-evaluation-harness (version 0.4.13), read as they are.
//!
//! `yaml` (a file's values, each with its place) → `tree` (includes, groups, names) → `config` (one task's keys) → `dataset` (records) → `functions` (what
//! files call in Python, built in) → `fields` (text, target and choices of a record) → `fewshot` (examples) → `build` (a [`Task`](crate::Task)).

mod build;
mod config;
mod dataset;
mod fewshot;
mod fields;
mod functions;
mod scoring;
mod tree;
mod yaml;

use std::path::{Path, PathBuf};

use crate::ProbeError;
use crate::task::Task;

/// The tasks of the task or group file at `path`; data that is not beside a file is looked for in the `data_folders`.
pub(crate) fn read_tasks(path: &Path, data_folders: &[PathBuf]) -> Result<Vec<Task>, ProbeError> {
    let configs = tree::configs(path)?;
    configs.into_iter().map(|fields| build::task(&config::TaskConfig::new(fields)?, data_folders)).collect()
}

#[cfg(test)]
mod tests;
