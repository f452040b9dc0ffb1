use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fineline_run::lifecycle::{Ended as RunEnded, Resume, TrainOptions, train as run_train};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::load;
use crate::args::TrainArgs;
use crate::console::Console;
use crate::{Ended, say};

/// `fineline train`
pub(crate) fn train(args: &TrainArgs) -> Result<Ended> {
    let resolved = load(&args.config)?;
    let options = TrainOptions {
        resume: match args.resume.as_str() {
            "auto" => Resume::Auto,
            "never" => Resume::Never,
            path => Resume::From(PathBuf::from(path)),
        },
        allow_changes: args.allow_changes.clone(),
        ..TrainOptions::default()
    };
    for signal in [SIGINT, SIGTERM] {
        stop_on(signal, &options).context("can't listen for signals")?;
    }
    let mut console = Console::new();
    let mut told = false;
    let ended = run_train(&resolved, &options, &mut |progress| {
        if !told && options.stop.requested().is_some() {
            console.note("stopping after this step, with a checkpoint; the same signal again ends at once");
            told = true;
        }
        console.show(progress);
    });
    console.finish();
    Ok(match ended? {
        RunEnded::Finished => Ended::Done,
        RunEnded::Stopped { step, signal } => {
            match step {
                Some(step) => say(&format!("stopped after step {step}; to go on: {}", command(args, None))),
                None => {
                    say(&format!(
                        "stopped before the first step; to begin: {}",
                        command(args, Some(&args.resume))
                    ));
                }
            }
            signal.map_or(Ended::Done, |signal| Ended::Stopped { signal: signal as u8 })
        }
    })
}

/// The command that goes on with the run. Changes that were allowed are the run's own by now.
fn command(args: &TrainArgs, resume: Option<&str>) -> String {
    let mut command = format!("fineline train {}", quoted(&args.config.config.display().to_string()));
    let overrides = args.config.overrides.iter().map(|value| ("--set", value.as_str()));
    for (flag, value) in overrides.chain(resume.map(|resume| ("--resume", resume))) {
        command.push_str(&[" ", flag, " ", &quoted(value)].concat());
    }
    command
}

/// The argument as a shell reads it back.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./=:,+@%".contains(c);
    if argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

/// The first signal asks the run to stop well; a second one ends the process at once, which leaves the last checkpoint whole.
fn stop_on(signal: i32, options: &TrainOptions) -> std::io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
    flag::register(signal, asked)?;
    flag::register_usize(signal, options.stop.flag(), signal as usize)?;
    Ok(())
}
