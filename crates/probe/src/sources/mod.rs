//! Sources of tasks: TOML task files, task files of lm-evaluation-harness, built-in suites, and the catalog that finds them by name.

pub(crate) mod builtin;
pub(crate) mod catalog;
pub(crate) mod harness;
pub(crate) mod hub;
pub(crate) mod task_file;
