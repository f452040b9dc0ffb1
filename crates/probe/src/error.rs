//! Errors of this crate.

use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

/// Errors in suites, tasks, their data and item stores. All except [`Self::Store`], [`Self::Representations`]
/// and [`Self::Io`] are found when a suite is loaded, before a run's first step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A file could not be read or written. The message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No suite has this name.
    #[error("unknown probe suite `{name}`{hint}: expected one of {}{}", known.join(", "), looked_in(dirs))]
    UnknownSuite {
        /// The configured name.
        name: String,
        /// Names of the existing suites.
        known: Vec<String>,
        /// Directories in which suite files were searched.
        dirs: Vec<PathBuf>,
        /// The most similar name, in parentheses.
        hint: String,
    },
    /// The suite has no task of this name.
    #[error("suite `{suite}` has no task `{name}`{hint}: expected one of {}", known.join(", "))]
    UnknownTask {
        /// The suite.
        suite: String,
        /// The configured name.
        name: String,
        /// Names of the suite's tasks.
        known: Vec<String>,
        /// The most similar name, in parentheses.
        hint: String,
    },
    /// A suite or task file is not TOML of the expected form. The source shows the line.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Description of the problem, with its line.
        source: Box<toml::de::Error>,
    },
    /// A value in a task file is invalid.
    #[error("{}: `{key}`: {message}", path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The invalid key.
        key: &'static str,
        /// Description of the problem, with the expected value.
        message: String,
    },
    /// A task file of lm-evaluation-harness is invalid.
    #[error("{} line {line}: {message}", path.display())]
    HarnessTask {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The invalid key, and what was expected.
        message: String,
    },
    /// A record of a task's data file cannot be turned into an item.
    #[error("{} line {line} (item {item}): {message}", path.display())]
    Record {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The item, counted from 0.
        item: usize,
        /// Description of the problem.
        message: String,
    },
    /// An item cannot be evaluated.
    #[error("task `{task}`, item {item}: {message}")]
    Item {
        /// The task.
        task: String,
        /// The item, counted from 0.
        item: usize,
        /// Description of the problem.
        message: String,
    },
    /// A task cannot be evaluated.
    #[error("task `{task}`: {message}")]
    Task {
        /// The task.
        task: String,
        /// Description of the problem.
        message: String,
    },
    /// A group in a suite file is invalid.
    #[error("{}: group `{group}`: {message}", path.display())]
    Group {
        /// The suite's file.
        path: PathBuf,
        /// The group.
        group: String,
        /// Description of the problem.
        message: String,
    },
    /// Stored representations or similarities could not be read or written.
    #[error("representations {}: {message}", path.display())]
    Representations {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
    /// An item store could not be read or written.
    #[error("item store {}: {message}", path.display())]
    Store {
        /// The Parquet file.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
}

impl Classified for ProbeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownSuite { .. } | Self::UnknownTask { .. } => ErrorClass::Usage,
            _ => ErrorClass::Environment,
        }
    }
}

/// An evaluation round was interrupted. None of its results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation was interrupted")]
pub struct Interrupted;

fn looked_in(dirs: &[PathBuf]) -> String {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    if dirs.is_empty() { String::new() } else { format!(" (searched {})", dirs.join(", ")) }
}
