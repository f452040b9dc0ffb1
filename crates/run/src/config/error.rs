//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass, Key};
use thiserror::Error;

/// What is wrong with a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file can't be read; the source names it.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A file isn't TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// A file extends itself, through others or at once.
    #[error("{}: this file extends itself", path.display())]
    ExtendsCycle {
        /// The file that comes up twice.
        path: PathBuf,
    },
    /// An override that isn't `key=value`, or whose key can't be reached.
    #[error("--set {assignment}: {message}")]
    BadOverride {
        /// The argument.
        assignment: String,
        /// What is wrong with it.
        message: String,
    },
    /// Keys that nothing reads, one message each.
    #[error("{}", .0.join("\n"))]
    UnknownKeys(Vec<String>),
    /// A section or a value that must be given, and isn't.
    #[error("{place}: {} is missing", name(key))]
    Missing {
        /// Its key.
        key: Key,
        /// Where it would stand: its section, or the file.
        place: String,
    },
    /// A value of the wrong type or out of its range, or one that contradicts another.
    #[error("{place}: `{key}` {message}")]
    Invalid {
        /// The value's key.
        key: Key,
        /// Where the value was written, or, where nobody wrote it, its section or the file.
        place: String,
        /// What is wrong, and what was expected, as it goes on after the key.
        message: String,
    },
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Configuration
    }
}

/// A section's or a value's name, as a message has it.
fn name(key: &Key) -> String {
    if key.parent() == Some(Key::default()) { format!("section `[{key}]`") } else { format!("`{key}`") }
}
