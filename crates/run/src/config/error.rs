//! Errors of configurations.

use std::io;
use std::path::{Path, PathBuf};

use fineline_diagnostics::{Classified, ErrorClass, Problems};
use thiserror::Error;

/// An error of a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file can't be read. The message names it.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A file isn't TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Message of the parser.
        message: String,
    },
    /// A file extends itself, directly or through others.
    #[error("{}: this file extends itself", path.display())]
    ExtendsCycle {
        /// The file.
        path: PathBuf,
    },
    /// An override that isn't `key=value`, or whose key can't be reached.
    #[error("--set {assignment}: {message}")]
    BadOverride {
        /// The argument.
        assignment: String,
        /// Description of the problem.
        message: String,
    },
    /// Values that can't be used, and keys that don't exist or are missing.
    #[error("{}", list(file, problems))]
    Invalid {
        /// The file that was read. It may extend others.
        file: PathBuf,
        /// The problems, each with its place.
        problems: Problems,
    },
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Configuration
    }
}

/// Formats one problem as a line by itself, and several as a list below the name of the file.
fn list(file: &Path, problems: &Problems) -> String {
    if problems.len() == 1 { problems.to_string() } else { format!("{} has {problems}", file.display()) }
}
