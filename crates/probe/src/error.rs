use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

/// What can be wrong with suites, tasks, their data and item stores. All of it but [`Self::Store`], [`Self::Representations`] and [`Self::Io`] is found
/// when a suite is loaded, before a run's first step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No suite has this name.
    #[error("unknown probe suite `{name}`{hint}; known are {}{}", known.join(", "), looked_in(folders))]
    UnknownSuite {
        /// The name as configured.
        name: String,
        /// The suites there are.
        known: Vec<String>,
        /// Where suite files were looked for.
        folders: Vec<PathBuf>,
        /// The nearest of them, in parentheses.
        hint: String,
    },
    /// A suite has no such task.
    #[error("suite `{suite}` has no task `{name}`{hint}; it has {}", known.join(", "))]
    UnknownTask {
        /// The suite.
        suite: String,
        /// The name as configured.
        name: String,
        /// The tasks there are.
        known: Vec<String>,
        /// The nearest of them, in parentheses.
        hint: String,
    },
    /// A suite or task file is no TOML of the expected form; the source shows the line.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and at which line.
        source: Box<toml::de::Error>,
    },
    /// A value in a task file cannot be.
    #[error("{}: `{key}`: {message}", path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: &'static str,
        /// What was expected.
        message: String,
    },
    /// A task file of lm-evaluation-harness can't be read as one.
    #[error("{} line {line}: {message}", path.display())]
    HarnessTask {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key at fault, and what was expected.
        message: String,
    },
    /// A record of a task's data file is no question.
    #[error("{} line {line} (item {item}): {message}", path.display())]
    Record {
        /// The data file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The item, from 0.
        item: usize,
        /// What is wrong with it.
        message: String,
    },
    /// An item cannot be asked.
    #[error("task `{task}`, item {item}: {message}")]
    Item {
        /// The task.
        task: String,
        /// The item, from 0.
        item: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A task as a whole cannot be asked.
    #[error("task `{task}`: {message}")]
    Task {
        /// The task.
        task: String,
        /// What is wrong with it.
        message: String,
    },
    /// A group of a suite's tasks cannot be formed.
    #[error("{}: group `{group}`: {message}", path.display())]
    Group {
        /// The suite's file.
        path: PathBuf,
        /// The group.
        group: String,
        /// What is wrong with it.
        message: String,
    },
    /// Stored representations, or their similarities, could not be read or written.
    #[error("representations {}: {message}", path.display())]
    Representations {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An item store could not be read or written.
    #[error("item store {}: {message}", path.display())]
    Store {
        /// The Parquet file.
        path: PathBuf,
        /// What is wrong.
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

/// A round was stopped before its end; nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the probe round was interrupted")]
pub struct Interrupted;

/// ` (did you mean ...?)`, if one of `known` is near `name`.
pub(crate) fn nearest_hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(name.chars().count()) / 2)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean `{candidate}`?)"))
}

fn looked_in(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    if folders.is_empty() {
        String::new()
    } else {
        format!(" (files were looked for in {})", folders.join(", "))
    }
}
