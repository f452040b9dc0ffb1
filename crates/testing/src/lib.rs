//! Support for the tests of several crates.
//!
//! Some tests need materials that a clone of the repository does not contain, a Python with certain packages,
//! or a privilege. Where that is missing, such a test calls [`skip`] and returns, or gets `None` from
//! [`materials`] or [`reference_python`], which have called it. Skipped tests are recorded, and counted and
//! named at the end of `cargo test --workspace` by `crates/xtask/tests/skipped.rs`.
//!
//! This crate depends on no other of the workspace, so that the tests of all of them can use it.

// Records
mod records;

// What tests may lack
mod materials;
mod python;

pub use materials::materials;
pub use python::reference_python;
pub use records::{SkippedTest, skip, take_skipped};
