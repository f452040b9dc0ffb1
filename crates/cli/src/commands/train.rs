//! `fineline train`: training, resumption and dry runs.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use fineline_model::ParameterSpec;
use fineline_ranks::Ranks;
use fineline_run::config::Resolved;
use fineline_run::lifecycle::faults::Faults;
use fineline_run::lifecycle::{RunOutcome, TrainOptions, dry_run as run_dry, train as run_train};
use fineline_run::start::ResumeRequest;
use fineline_run::{RunError, RunProgress};

use crate::args::TrainArgs;
use crate::configuration::{fetched_weights, load};
use crate::console::Console;
use crate::failure::UsageError;
use crate::messages::print_message;
use crate::outcome::CommandOutcome;
use crate::output::{grouped, print, quoted};
use crate::ranks::run_on_ranks;
use crate::signals::{checkpoint_on_signal, stop_on_signals};
use crate::webhooks::Webhooks;

/// `fineline train`
pub(crate) fn train(args: &TrainArgs) -> Result<CommandOutcome> {
    run_on_ranks(|ranks| train_with(args, ranks))
}

fn train_with(args: &TrainArgs, ranks: &dyn Ranks) -> Result<CommandOutcome> {
    let resolved = load(&args.config)?;
    let options = TrainOptions {
        resume: match args.resume.as_str() {
            "auto" => ResumeRequest::Auto,
            "never" => ResumeRequest::Never,
            address if address.contains("://") => ResumeRequest::FromUrl(address.to_owned()),
            path => ResumeRequest::From(PathBuf::from(path)),
        },
        allow_changes: args.allow_changes.clone(),
        fetched: fetched_weights(&resolved)?,
        give_up: Some(crate::ranks::abort),
        notify: Some(Arc::new(Webhooks::default())),
        faults: faults_from_env()?,
        ..TrainOptions::default()
    };
    stop_on_signals(&options.stop)?;
    checkpoint_on_signal(&options.checkpoint)?;
    if args.dry_run {
        return dry_run(&resolved, &options);
    }
    if !ranks.is_first() {
        let ended = run_train(&resolved, &options, ranks, &mut |_| ())?;
        return Ok(match ended {
            RunOutcome::Finished => CommandOutcome::Done,
            RunOutcome::Stopped { signal, .. } => stopped_by(signal),
        });
    }
    let mut console = Console::new();
    let (mut is_stop_reported, mut is_training) = (false, false);
    let ended = run_train(&resolved, &options, ranks, &mut |progress| {
        is_training |= matches!(progress, RunProgress::Training { .. });
        if !is_stop_reported && options.stop.requested().is_some() {
            let when = if is_training { "after this step, with a checkpoint" } else { "before training" };
            console.note(&format!("stopping {when}; a second signal exits immediately"));
            is_stop_reported = true;
        }
        console.show(progress);
    });
    console.finish();
    Ok(match ended? {
        RunOutcome::Finished => CommandOutcome::Done,
        RunOutcome::Stopped { step, signal } => {
            print_message(&match step {
                Some(step) => {
                    format!("stopped after step {step}; to resume: {}", next_command(args, NextStart::Resume))
                }
                None => format!(
                    "stopped before training: the run is unchanged; to start it: {}",
                    next_command(args, NextStart::Repeat)
                ),
            });
            stopped_by(signal)
        }
    })
}

fn stopped_by(signal: Option<usize>) -> CommandOutcome {
    signal.map_or(CommandOutcome::Done, |signal| CommandOutcome::Stopped { signal: signal as u8 })
}

/// Environment variable with faults to inject, for tests of recovery: see [`Faults`].
const FAULTS: &str = "FINELINE_FAULTS";

fn faults_from_env() -> Result<Faults> {
    let Some(text) = std::env::var_os(FAULTS) else { return Ok(Faults::default()) };
    let faults = text.to_string_lossy().parse().map_err(|error| UsageError(format!("{FAULTS}: {error}")))?;
    if faults != Faults::default() {
        print_message(&format!("warning: fault injection: {FAULTS} is {}", text.to_string_lossy()));
    }
    Ok(faults)
}

/// Prepares a run without training, and prints its state before the first step.
fn dry_run(resolved: &Resolved, options: &TrainOptions) -> Result<CommandOutcome> {
    let mut console = Console::new();
    let report = run_dry(resolved, options, &mut |progress| console.show(progress));
    console.finish();
    let report = match report {
        Err(RunError::Stopped { signal }) => return Ok(CommandOutcome::Stopped { signal: signal as u8 }),
        report => report?,
    };
    let mut page = String::new();
    for event in &report.events {
        writeln!(page, "{event}")?;
    }
    let parameters: usize = report.parameters.iter().map(ParameterSpec::len).sum();
    writeln!(
        page,
        "model         {} parameters in {} tensors",
        grouped(parameters as u64),
        report.parameters.len()
    )?;
    for source in &report.sources {
        let (tokens, rows) = (grouped(source.tokens), grouped(source.rows));
        writeln!(
            page,
            "data          {}: {tokens} tokens, {rows} rows per epoch, {:.1} % of the rows",
            source.name,
            100.0 * source.share
        )?;
    }
    for (suite, tasks) in &report.suites {
        writeln!(page, "probes        {suite}: {tasks} tasks")?;
    }
    let (next, total) = (grouped(report.step + 1), grouped(report.total_steps));
    if report.step < report.total_steps {
        writeln!(
            page,
            "ready: the next step is {next} of {total}; nothing was written to {}",
            resolved.config.run.dir.display()
        )?;
    } else {
        writeln!(page, "done: all {total} steps are complete")?;
    }
    print(&page)?;
    Ok(CommandOutcome::Done)
}

/// Purpose of the command that is printed for the next start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextStart {
    /// Do what this start didn't get to.
    Repeat,
    /// Resume from the newest checkpoint. Changes that were allowed are part of the run by now.
    Resume,
}

/// Returns the command for the next start, with the program name as it was called.
fn next_command(args: &TrainArgs, next: NextStart) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "fineline".into());
    let program = program.to_string_lossy();
    let mut flags: Vec<(&str, &str)> =
        args.config.overrides.iter().map(|value| ("--set", value.as_str())).collect();
    if next == NextStart::Repeat {
        flags.extend((args.resume != "auto").then_some(("--resume", args.resume.as_str())));
        flags.extend(args.allow_changes.iter().map(|key| ("--allow-change", key.as_str())));
    }
    let config = args.config.config.display().to_string();
    let mut words = vec![&*program, "train", &config];
    words.extend(flags.iter().flat_map(|(flag, value)| [*flag, *value]));
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}
