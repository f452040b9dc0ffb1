//! Sources of tasks: TOML task files, task files of lm-evaluation-harness, built-in suites, and the catalog
//! that finds them by name.

// Shared definitions.
pub(crate) mod hub_source;
pub(crate) mod suite_content;

// Kinds of sources.
pub(crate) mod builtin;
pub(crate) mod harness;
pub(crate) mod task_file;

// Suites by name.
pub(crate) mod catalog;

// Sources from which the data of a suite can be downloaded.
pub(crate) mod task_source;
