//! Whole-program tests: they drive the `fineline` binary as its users do.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod bad_input;
mod config;
mod data;
mod fine_line;
mod memory;
mod probes;
mod resume;
mod run;
mod support;
mod transformers;
