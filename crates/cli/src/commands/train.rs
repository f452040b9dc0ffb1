use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fineline_run::lifecycle::{Ended as RunEnded, Resume, TrainOptions, train as run_train};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::load;
use crate::Ended;
use crate::args::TrainArgs;
use crate::console::Console;

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
    let ended = run_train(&resolved, &options, &mut |progress| console.show(progress));
    console.finish();
    let command = format!("fineline train {}", args.config.config.display());
    Ok(match ended? {
        RunEnded::Finished => Ended::Done,
        RunEnded::Stopped { signal } => {
            eprintln!("stopped after a checkpoint; to go on: {command}");
            signal.map_or(Ended::Done, |signal| Ended::Stopped { signal: signal as u8 })
        }
    })
}

/// The first signal asks the run to stop well; a second one ends the process at once, which leaves the last checkpoint whole.
fn stop_on(signal: i32, options: &TrainOptions) -> std::io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
    flag::register(signal, asked)?;
    flag::register_usize(signal, options.stop.flag(), signal as usize)?;
    Ok(())
}
