//! Signals that stop a command or request a checkpoint.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fineline_run::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Makes Ctrl-C and SIGTERM request an orderly stop. A second signal of either kind ends the process
/// immediately.
pub(crate) fn stop_on_signals(stop: &StopSignal) -> Result<()> {
    let requested = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        stop_on(signal, stop, &requested).context("can't install signal handlers")?;
    }
    // `mpirun` doesn't forward SIGTERM to its ranks, but forwards SIGUSR2.
    #[cfg(unix)]
    flag::register_usize(signal_hook::consts::SIGUSR2, stop.flag(), SIGTERM as usize)
        .context("can't install signal handlers")?;
    Ok(())
}

fn stop_on(signal: i32, stop: &StopSignal, requested: &Arc<AtomicBool>) -> std::io::Result<()> {
    flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(requested))?;
    flag::register(signal, Arc::clone(requested))?;
    flag::register_usize(signal, stop.flag(), signal as usize)?;
    Ok(())
}

/// Makes SIGUSR1 request a checkpoint.
pub(crate) fn checkpoint_on_signal(request: &Arc<AtomicBool>) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, Arc::clone(request))
        .context("can't install signal handlers")?;
    Ok(())
}
