//! Repository tasks: `cargo xtask --help` lists them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tasks of a terminal")]

// What the checks read
mod source;

// Checks
mod checks;

// Commands
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::tidy::TidyArgs;

/// Repository tasks of fineline.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the structure and the text of the repository.
    Tidy(TidyArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Tidy(args) => tidy::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
