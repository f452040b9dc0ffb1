//! The `fineline` binary: command line, output and exit codes.
//!
//! Each command is a module of [`commands`]. The work is done in `fineline-run` and the crates below it. Only
//! this crate uses clap, standard output and exit codes:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | the command succeeded |
//! | 1 | the command failed, or the things that it compared differ |
//! | 2 | wrong arguments or wrong configuration |
//! | 128 + signal | the command was stopped by a signal, and saved its state |

// Arguments and outcomes of commands.
mod arg_values;
mod args;
mod outcome;

// Standard error, standard output and signals.
mod messages;
mod output;
mod signals;

// Renderings.
mod cli_reference;
mod console;
mod failure;
mod lm_eval_table;
mod probe_table;

// Shared by several commands.
mod configuration;
mod probe_request;
mod ranks;
mod webhooks;

// The commands.
mod commands;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{
    Cli, Command, ConfigCommand, DataCommand, LogFormat, TokenizerCommand, VerifyCommand, WeightsCommand,
};
use failure::{exit_code, is_broken_pipe, print_failure};
use outcome::CommandOutcome;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_clap_error(&error),
    };
    messages::init(cli.log_format);
    match dispatch(cli.command) {
        Ok(CommandOutcome::Done) => ExitCode::SUCCESS,
        Ok(CommandOutcome::Differs) => ExitCode::FAILURE,
        Ok(CommandOutcome::Stopped { signal }) => ExitCode::from(128 + signal),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print_failure(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Prints what is wrong with the arguments, or the output of `--help` or `--version`.
fn print_clap_error(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let wants_json = arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair == ["--log-format", "json"]);
    if error.use_stderr() && wants_json {
        messages::init(LogFormat::Json);
        messages::print_error(error.to_string().trim().trim_start_matches("error: "));
    } else {
        // A closed standard error is not a failure.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn dispatch(command: Command) -> Result<CommandOutcome> {
    match command {
        Command::Train(args) => return commands::train::train(&args),
        Command::Sweep(args) => return commands::sweep::sweep(&args),
        Command::Config(ConfigCommand::Show { config, json }) => commands::config::show(&config, json),
        Command::Config(ConfigCommand::Check { config }) => commands::config::check(&config),
        Command::Config(ConfigCommand::Diff { left, right }) => commands::config::diff(&left, &right),
        Command::Config(ConfigCommand::Reference { schema }) => commands::config::reference(schema),
        Command::Plan(args) => commands::plan::plan(&args),
        Command::Data(DataCommand::Prepare(args)) => commands::data::prepare(&args),
        Command::Data(DataCommand::Fetch(args)) => commands::fetch::fetch(&args),
        Command::Data(DataCommand::Show { config, step, row }) => commands::data::show(&config, step, row),
        Command::Data(DataCommand::Stats { config, json }) => commands::data::stats(&config, json),
        Command::Tokenizer(TokenizerCommand::Train(args)) => commands::tokenizer::train(&args),
        Command::Tokenizer(TokenizerCommand::Inspect { tokenizer, text }) => {
            commands::tokenizer::inspect(&tokenizer, text.as_deref())
        }
        Command::Weights(WeightsCommand::Fetch(args)) => commands::fetch_weights::fetch(&args),
        Command::Weights(WeightsCommand::Inspect(args)) => commands::weights::inspect(&args),
        Command::Weights(WeightsCommand::Import(args)) => return commands::weights::import(&args),
        Command::Weights(WeightsCommand::Export(args)) => return commands::weights::export(&args),
        Command::Probe(args) => commands::probe::probe(&args),
        Command::Generate(args) => commands::generate::generate(&args),
        Command::Verify(VerifyCommand::Resume { config, steps, stop_at }) => {
            commands::verify::resume(&config, steps, stop_at)
        }
        Command::Verify(VerifyCommand::Diff { left, right, json }) => {
            return commands::verify::diff(&left, &right, json);
        }
        Command::Bench(args) => commands::bench::bench(&args),
        Command::Doctor(args) => commands::doctor::doctor(&args),
        Command::Watch(args) => commands::watch::watch(&args),
        Command::Dynamics(args) => commands::dynamics::dynamics(&args),
        Command::Completions(args) => commands::shell::completions(args.shell),
        Command::Man(args) => commands::shell::man(&args.dir),
        Command::CliReference => commands::shell::reference(),
    }
    .map(|()| CommandOutcome::Done)
}
