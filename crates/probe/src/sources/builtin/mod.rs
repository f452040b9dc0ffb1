//! Built-in suites, which need no files.

pub(crate) mod in_context;
pub(crate) mod representation;
pub(crate) mod tinyworld;
