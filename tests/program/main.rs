//! Whole-program tests: they drive the `fineline` binary as its users do.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking and print what they skip"
)]

mod bad_input;
mod config;
mod data;
mod digests;
mod disks;
mod dynamics;
mod fetch;
mod fine_line;
mod guards;
mod init;
mod memory;
mod probes;
mod prometheus;
#[cfg(feature = "mpi")]
mod ranks;
mod recipes;
mod resume;
mod run;
#[allow(dead_code, reason = "the hub's own tests use more of it")]
#[path = "../../crates/hub/tests/hub/server.rs"]
mod server;
#[cfg(feature = "storage")]
mod storage;
mod support;
mod sweep;
mod threads;
mod transformers;
mod triggers;
mod weights;
