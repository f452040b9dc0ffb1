//! Evaluation of suites on small models with random weights, and on a real one if it is available.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod in_context;
mod representation;
mod scoring;
mod shipped;
mod suites;
mod support;
mod writing;
