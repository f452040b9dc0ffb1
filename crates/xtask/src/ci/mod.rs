//! `cargo xtask ci`: everything that must hold before a change is merged.

mod steps;

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::steps::{CiStep, StepRunner};

/// Runs the steps of continuous integration, in order, until one fails.
///
/// Needs a Rust toolchain, Python 3, and root for apt where Debian's PyTorch, Open MPI or a Vulkan driver is
/// not installed yet.
#[derive(clap::Args)]
pub(crate) struct CiArgs {
    /// Steps to run; all of them by default.
    #[arg(value_name = "STEP")]
    steps: Vec<CiStep>,
}

/// Runs the steps that are named, or all.
///
/// # Errors
///
/// If a step fails.
pub(crate) fn run(args: &CiArgs) -> Result<()> {
    let steps = if args.steps.is_empty() { CiStep::value_variants() } else { &args.steps };
    let runner = StepRunner::new()?;
    let start = Instant::now();
    for step in steps {
        let step_start = Instant::now();
        println!("\n=== {} ===", step.name());
        runner.run(*step).with_context(|| format!("step {}", step.name()))?;
        println!("--- {}: {} s", step.name(), step_start.elapsed().as_secs());
    }
    println!("\nall good: {} s", start.elapsed().as_secs());
    Ok(())
}

/// A line for each step, for `cargo xtask --help`.
pub(crate) fn step_list() -> String {
    let lines =
        CiStep::value_variants().iter().map(|step| format!("  {:<18}{}", step.name(), step.summary()));
    format!("Steps of `cargo xtask ci`:\n{}", lines.collect::<Vec<_>>().join("\n"))
}
