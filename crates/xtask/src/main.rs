//! Repository tasks: `cargo xtask --help` lists them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tasks of a terminal")]

// What the checks read
mod source;

// Checks
mod checks;

// Commands
mod generate;
mod shell;
mod tidy;

// All of them
mod ci;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::ci::CiArgs;
use crate::generate::GenerateArgs;
use crate::tidy::TidyArgs;

/// Repository tasks of fineline.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = ci::step_list())]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the structure and the text of the repository.
    Tidy(TidyArgs),
    /// Write the reference pages that `fineline` prints about itself, or check that they are up to date.
    Generate(GenerateArgs),
    /// Run everything that must hold before a change is merged.
    Ci(CiArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Tidy(args) => tidy::run(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Ci(args) => ci::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
