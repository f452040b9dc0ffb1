//! The `fineline` binary: arguments in, words out.
//!
//! Each command is a module of [`commands`]; what they do is in `fineline-run` and below. Only this crate knows clap, standard
//! output and exit codes:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; or what was compared differs |
//! | 2 | bad usage or bad configuration |
//! | 128 + signal | stopped by a signal after a good checkpoint |

mod args;
mod commands;
mod console;
mod lm_eval_table;
mod messages;
mod ranks;
mod table;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fineline_data::DataError;
use fineline_files::with_causes;
use fineline_model::WeightsError;
use fineline_run::RunError;
use fineline_run::config::ConfigError;
use fineline_run::probe::ProbeError;

use args::{
    Cli, Command, ConfigCommand, DataCommand, LogFormat, TokenizerCommand, VerifyCommand, WeightsCommand,
};
pub(crate) use messages::say;

/// Arguments that clap can't tell are wrong.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// How a command ended, where it didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It did what it was asked for.
    Done,
    /// It did, and what it compared differs.
    Differs,
    /// A signal stopped it, after it had saved everything.
    Stopped { signal: u8 },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    messages::start(cli.log_format);
    match dispatch(cli.command) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Differs) => ExitCode::FAILURE,
        Ok(Ended::Stopped { signal }) => ExitCode::from(128 + signal),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say_failure(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Says why a command failed.
pub(crate) fn say_failure(error: &anyhow::Error) {
    messages::say_error(&with_causes(error.as_ref()));
}

/// The exit code of a command that failed.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if is_usage_error(error) { 2 } else { 1 }
}

/// Says what is wrong with the arguments, or what was asked of them (`--help`).
fn explain(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let asks_for_json = arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair == ["--log-format", "json"]);
    if error.use_stderr() && asks_for_json {
        messages::start(LogFormat::Json);
        messages::say_error(error.to_string().trim().trim_start_matches("error: "));
    } else {
        // A reader that went away is no failure of ours.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn dispatch(command: Command) -> Result<Ended> {
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
    }
    .map(|()| Ended::Done)
}

/// Whether it was the arguments or the configuration that were wrong, rather than the world.
fn is_usage_error(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<UsageError>()
            || cause.downcast_ref::<WeightsError>().is_some_and(WeightsError::is_usage)
            || cause.downcast_ref::<DataError>().is_some_and(DataError::is_configuration)
            || cause.downcast_ref::<RunError>().is_some_and(is_usage)
    })
}

fn is_usage(error: &RunError) -> bool {
    match error {
        RunError::Data(error) => error.is_configuration(),
        RunError::Sweep(error) => error.is_usage(),
        RunError::Config(_)
        | RunError::ConfigChanged { .. }
        | RunError::RowsRecounted { .. }
        | RunError::Exists { .. }
        | RunError::DeviceNotBuilt { .. }
        | RunError::NoDevice { .. }
        | RunError::NoPrecision { .. }
        | RunError::MirrorInUse { .. }
        | RunError::NotFetched { .. }
        | RunError::NoStorage { .. }
        | RunError::UnknownAllowance { .. }
        | RunError::ForeignFiles { .. }
        | RunError::OtherRunsCheckpoint { .. }
        | RunError::Probe(ProbeError::UnknownSuite { .. } | ProbeError::UnknownTask { .. }) => true,
        _ => false,
    }
}

/// Whether the reader of standard output went away, as `head` does: no failure of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
