//! `fineline sweep`: evaluation of a series of checkpoints.

use anyhow::Result;
use fineline_run::StopSignal;
use fineline_run::lifecycle::RunOutcome;
use fineline_run::tools::sweep::{CheckpointAxis, Sweep, SweepError, UnreadablePolicy};

use crate::args::SweepArgs;
use crate::console::Console;
use crate::messages::print_message;
use crate::outcome::CommandOutcome;
use crate::output::quoted;
use crate::probe_request::{offline_probe, with_flag};
use crate::signals::stop_on_signals;

/// `fineline sweep`
pub(crate) fn sweep(args: &SweepArgs) -> Result<CommandOutcome> {
    let sweep = Sweep {
        probe: offline_probe(&args.model, &args.evaluation),
        revisions: args.revisions.clone(),
        axis: CheckpointAxis {
            tokens_per_checkpoint: args.tokens_per_checkpoint,
            tokens_per_step: args.tokens_per_step,
            table: args.axis.clone(),
        },
        out: args.out.clone(),
        unreadable: if args.keep_going { UnreadablePolicy::Skip } else { UnreadablePolicy::Stop },
        stop: StopSignal::default(),
    };
    stop_on_signals(&sweep.stop)?;
    let mut console = Console::new();
    let mut is_stop_reported = false;
    let ended = sweep.run(&mut |progress| {
        if !is_stop_reported && sweep.stop.requested().is_some() {
            console.note("stopping after this checkpoint; a second signal exits immediately");
            is_stop_reported = true;
        }
        console.show(progress);
    });
    console.finish();
    Ok(match ended.map_err(at_flag)? {
        RunOutcome::Finished => CommandOutcome::Done,
        RunOutcome::Stopped { step, signal } => {
            let after = step.map_or_else(
                || "before the first checkpoint".to_owned(),
                |step| format!("after the checkpoint of step {step}"),
            );
            let command: Vec<String> = std::env::args().map(|argument| quoted(&argument)).collect();
            print_message(&format!("stopped {after}; to continue: {}", command.join(" ")));
            signal.map_or(CommandOutcome::Done, |signal| CommandOutcome::Stopped { signal: signal as u8 })
        }
    })
}

/// Names the flag at fault, if it is one.
fn at_flag(error: SweepError) -> anyhow::Error {
    match error {
        SweepError::Run(error) => with_flag(error),
        error => error.into(),
    }
}
