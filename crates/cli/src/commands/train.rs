use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use fineline_model::ParameterSpec;
use fineline_ranks::Ranks;
use fineline_run::config::Resolved;
use fineline_run::faults::Faults;
use fineline_run::lifecycle::{
    Ended as RunEnded, Resume, TrainOptions, dry_run as run_dry, train as run_train,
};
use fineline_run::{Progress, RunError};

use crate::args::TrainArgs;
use crate::configuration::{fetched_weights, load};
use crate::console::Console;
use crate::failure::UsageError;
use crate::messages::say;
use crate::outcome::CommandOutcome;
use crate::output::{grouped, print, quoted};
use crate::ranks::together;
use crate::signals::{checkpoint_on_signal, stop_on_signals};
use crate::webhooks::Webhooks;

/// `fineline train`
pub(crate) fn train(args: &TrainArgs) -> Result<CommandOutcome> {
    together(|ranks| train_with(args, ranks))
}

fn train_with(args: &TrainArgs, ranks: &dyn Ranks) -> Result<CommandOutcome> {
    let resolved = load(&args.config)?;
    let options = TrainOptions {
        resume: match args.resume.as_str() {
            "auto" => Resume::Auto,
            "never" => Resume::Never,
            address if address.contains("://") => Resume::FromUrl(address.to_owned()),
            path => Resume::From(PathBuf::from(path)),
        },
        allow_changes: args.allow_changes.clone(),
        fetched: fetched_weights(&resolved)?,
        give_up: Some(crate::ranks::give_up),
        notify: Some(Arc::new(Webhooks::default())),
        faults: faults()?,
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
            RunEnded::Finished => CommandOutcome::Done,
            RunEnded::Stopped { signal, .. } => by(signal),
        });
    }
    let mut console = Console::new();
    let (mut told, mut is_training) = (false, false);
    let ended = run_train(&resolved, &options, ranks, &mut |progress| {
        is_training |= matches!(progress, Progress::Training { .. });
        if !told && options.stop.requested().is_some() {
            let how = if is_training { "after this step, with a checkpoint" } else { "before training" };
            console.note(&format!("stopping {how}; another signal ends at once"));
            told = true;
        }
        console.show(progress);
    });
    console.finish();
    Ok(match ended? {
        RunEnded::Finished => CommandOutcome::Done,
        RunEnded::Stopped { step, signal } => {
            say(&match step {
                Some(step) => format!("stopped after step {step}; to go on: {}", command(args, Again::GoOn)),
                None => format!(
                    "stopped before training: the run is as it was; to start it: {}",
                    command(args, Again::Same)
                ),
            });
            by(signal)
        }
    })
}

fn by(signal: Option<usize>) -> CommandOutcome {
    signal.map_or(CommandOutcome::Done, |signal| CommandOutcome::Stopped { signal: signal as u8 })
}

/// The variable that names what is to go wrong on purpose, for drills: see [`Faults`].
const FAULTS: &str = "FINELINE_FAULTS";

fn faults() -> Result<Faults> {
    let Some(text) = std::env::var_os(FAULTS) else { return Ok(Faults::default()) };
    let faults = text.to_string_lossy().parse().map_err(|error| UsageError(format!("{FAULTS}: {error}")))?;
    if faults != Faults::default() {
        say(&format!("warning: a drill: {FAULTS} is {}", text.to_string_lossy()));
    }
    Ok(faults)
}

/// All that comes before the first step, and what it would begin with.
fn dry_run(resolved: &Resolved, options: &TrainOptions) -> Result<CommandOutcome> {
    let mut console = Console::new();
    let outlook = run_dry(resolved, options, &mut |progress| console.show(progress));
    console.finish();
    let outlook = match outlook {
        Err(RunError::Stopped { signal }) => return Ok(CommandOutcome::Stopped { signal: signal as u8 }),
        outlook => outlook?,
    };
    let mut page = String::new();
    for event in &outlook.events {
        writeln!(page, "{event}")?;
    }
    let parameters: usize = outlook.parameters.iter().map(ParameterSpec::len).sum();
    writeln!(
        page,
        "model         {} parameters in {} tensors",
        grouped(parameters as u64),
        outlook.parameters.len()
    )?;
    for source in &outlook.sources {
        let (tokens, rows) = (grouped(source.tokens), grouped(source.rows));
        writeln!(
            page,
            "data          {}: {tokens} tokens, {rows} rows an epoch, {:.1} % of the rows",
            source.name,
            100.0 * source.share
        )?;
    }
    for (suite, tasks) in &outlook.suites {
        writeln!(page, "probes        {suite}: {tasks} tasks")?;
    }
    let (next, total) = (grouped(outlook.step + 1), grouped(outlook.total_steps));
    if outlook.step < outlook.total_steps {
        writeln!(
            page,
            "ready: the next step would be {next} of {total}; nothing was written into {}",
            resolved.config.run.dir.display()
        )?;
    } else {
        writeln!(page, "done: all {total} steps have been made")?;
    }
    print(&page)?;
    Ok(CommandOutcome::Done)
}

/// What the next start is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The same as this one, which hasn't come to it.
    Same,
    /// Go on from the newest checkpoint. Changes that were allowed are the run's own by now.
    GoOn,
}

/// The command for the next start, with the program as it was called.
fn command(args: &TrainArgs, again: Again) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "fineline".into());
    let program = program.to_string_lossy();
    let mut flags: Vec<(&str, &str)> =
        args.config.overrides.iter().map(|value| ("--set", value.as_str())).collect();
    if again == Again::Same {
        flags.extend((args.resume != "auto").then_some(("--resume", args.resume.as_str())));
        flags.extend(args.allow_changes.iter().map(|key| ("--allow-change", key.as_str())));
    }
    let config = args.config.config.display().to_string();
    let mut words = vec![&*program, "train", &config];
    words.extend(flags.iter().flat_map(|(flag, value)| [*flag, *value]));
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}
