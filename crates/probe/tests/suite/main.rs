//! Suites put to models: small ones with weights at random, and a real one where it is at hand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod in_context;
mod representation;
mod scoring;
mod shipped;
mod suites;
mod support;
mod writing;
