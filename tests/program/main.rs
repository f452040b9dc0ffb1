//! Whole-program tests: they drive the `fineline` binary as its users do.

mod bad_input;
mod config;
mod data;
mod memory;
mod probes;
mod resume;
mod run;
mod support;
mod transformers;
