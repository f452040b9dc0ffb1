use anyhow::Result;
use fineline_run::StopSignal;
use fineline_run::lifecycle::Ended as RunEnded;
use fineline_run::sweep::{Axis, Sweep, Unreadable};

use crate::args::SweepArgs;
use crate::console::Console;
use crate::messages::say;
use crate::outcome::CommandOutcome;
use crate::output::quoted;
use crate::probe_request::{asked_of, by_flag};
use crate::signals::stop_on_signals;

/// `fineline sweep`
pub(crate) fn sweep(args: &SweepArgs) -> Result<CommandOutcome> {
    let sweep = Sweep {
        probe: asked_of(&args.model, &args.asked),
        revisions: args.revisions.clone(),
        axis: Axis {
            tokens_per_checkpoint: args.tokens_per_checkpoint,
            tokens_per_step: args.tokens_per_step,
            table: args.axis.clone(),
        },
        out: args.out.clone(),
        unreadable: if args.keep_going { Unreadable::PassOver } else { Unreadable::Stop },
        stop: StopSignal::default(),
    };
    stop_on_signals(&sweep.stop)?;
    let mut console = Console::new();
    let mut told = false;
    let ended = sweep.run(&mut |progress| {
        if !told && sweep.stop.requested().is_some() {
            console.note("stopping after this checkpoint; another signal ends at once");
            told = true;
        }
        console.show(progress);
    });
    console.finish();
    Ok(match ended.map_err(by_flag)? {
        RunEnded::Finished => CommandOutcome::Done,
        RunEnded::Stopped { step, signal } => {
            let after = step.map_or_else(
                || "before the first checkpoint".to_owned(),
                |step| format!("after the checkpoint of step {step}"),
            );
            let again: Vec<String> = std::env::args().map(|argument| quoted(&argument)).collect();
            say(&format!("stopped {after}; to go on: {}", again.join(" ")));
            signal.map_or(CommandOutcome::Done, |signal| CommandOutcome::Stopped { signal: signal as u8 })
        }
    })
}
