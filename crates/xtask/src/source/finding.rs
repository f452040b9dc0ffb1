//! A violation of one of the repository's rules, and where it is.

use std::fmt;

/// Kind of rule that a finding violates. Each kind has one module under `checks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum FindingKind {
    /// Modules of a crate that import each other in a circle.
    Circles,
    /// Imports against the order of layers in a `lib.rs` or `mod.rs`, and layers without a name.
    Layers,
    /// Imports through the crate root, and imports from a parent module.
    Imports,
    /// Lines wider than 110 columns.
    Width,
    /// Type names defined twice in a crate, or publicly in two crates.
    TypeNames,
    /// Closures that shadow a function.
    Closures,
    /// Files without a `//!` header, `name.rs` beside `name/`, `#[path]` attributes.
    Files,
    /// Unsorted dependencies in a `Cargo.toml`.
    Dependencies,
    /// Links, anchors, commands, configuration keys and paths in documentation that do not exist.
    Docs,
    /// Phrases that are not plain technical English.
    English,
}

/// A violation at one line of one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub kind: FindingKind,
    /// Path relative to the repository root, with `/` as the separator.
    pub path: String,
    /// One-based line number.
    pub line: usize,
    pub message: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { kind, path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}
