//! Signals that stop a command or request a checkpoint.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fineline_run::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Has Ctrl-C and SIGTERM ask for a good end. A second one, be it the other of them, ends the process at once.
pub(crate) fn stop_on_signals(stop: &StopSignal) -> Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        stop_on(signal, stop, &asked).context("can't listen for signals")?;
    }
    // `mpirun` keeps SIGTERM to itself and hands this one on to its ranks.
    #[cfg(unix)]
    flag::register_usize(signal_hook::consts::SIGUSR2, stop.flag(), SIGTERM as usize)
        .context("can't listen for signals")?;
    Ok(())
}

fn stop_on(signal: i32, stop: &StopSignal, asked: &Arc<AtomicBool>) -> std::io::Result<()> {
    flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(asked))?;
    flag::register(signal, Arc::clone(asked))?;
    flag::register_usize(signal, stop.flag(), signal as usize)?;
    Ok(())
}

/// Has SIGUSR1 ask for a checkpoint.
pub(crate) fn checkpoint_on_signal(request: &Arc<AtomicBool>) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, Arc::clone(request)).context("can't listen for signals")?;
    Ok(())
}
