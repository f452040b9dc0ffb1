//! Suites that need no files.

pub(crate) mod in_context;
