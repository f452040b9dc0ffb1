//! Counts and names the tests that were skipped, at the end of `cargo test --workspace`.
//!
//! Cargo runs the test programs in the order of their packages, and `xtask` is the last of them. This program
//! has no harness, so that what it prints is not captured. It takes what the others recorded
//! (`fineline-testing`).

#![expect(clippy::print_stdout, reason = "the report of a test run")]

use fineline_testing::{SkippedTest, take_skipped};

const UNCOUNTED: &str = "skipped tests are not counted on this platform: see the lines `skipped: …` above";

fn main() {
    // nextest lists the tests of a program first. Here, there are none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    match take_skipped() {
        Some(skipped) => print!("{}", report(&skipped)),
        None => print!("\n{UNCOUNTED}\n\n"),
    }
}

fn report(skipped: &[SkippedTest]) -> String {
    let count = match skipped.len() {
        0 => return "\nno test was skipped\n\n".to_owned(),
        1 => "1 test was skipped".to_owned(),
        count => format!("{count} tests were skipped"),
    };
    let lines = skipped.iter().map(|test| format!("    {} (lacks {})\n", test.name, test.lacks.join(", ")));
    format!(
        "\n{count}, in whole or in part. CONTRIBUTING.md says how to get what they lack:\n{}\n",
        lines.collect::<String>()
    )
}
