use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Key, Origin};

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
    /// A value of the wrong type or out of its range, or one that contradicts another.
    #[error("{}`{key}` {message}", place(origin))]
    Invalid {
        /// The value's key.
        key: Key,
        /// Where the value was written.
        origin: Origin,
        /// What is wrong, and what was expected, as it goes on after the key.
        message: String,
    },
}

/// `; did you mean X?` for the name most like `name`, or nothing where none is.
pub(crate) fn nearest_hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

/// `file:line: `, or nothing where nobody wrote the value.
fn place(origin: &Origin) -> String {
    if *origin == Origin::Default { String::new() } else { format!("{origin}: ") }
}
