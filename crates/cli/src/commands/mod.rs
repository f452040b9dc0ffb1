//! One module a command.

pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod dynamics;
pub(crate) mod fetch;
pub(crate) mod fetch_weights;
pub(crate) mod generate;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod sweep;
pub(crate) mod tokenizer;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod watch;
mod webhooks;
pub(crate) mod weights;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fineline_run::StopSignal;
use fineline_run::config::Resolved;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::args::ConfigArgs;

/// Reads and resolves a configuration.
fn load(args: &ConfigArgs) -> Result<Resolved> {
    Ok(Resolved::load(&args.config, &args.overrides)?)
}

/// Has Ctrl-C and SIGTERM ask for a good end. A second one, be it the other of them, ends the process at once.
fn stop_on_signals(stop: &StopSignal) -> Result<()> {
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
fn checkpoint_on_signal(request: &Arc<AtomicBool>) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, Arc::clone(request)).context("can't listen for signals")?;
    Ok(())
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

/// Prints one JSON object on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Prints text on standard output, as it is.
fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (6_738_415_616, "6,738,415,616")] {
            assert_eq!(grouped(number), text);
        }
    }
}
