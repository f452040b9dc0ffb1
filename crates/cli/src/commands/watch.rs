use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use fineline_run::RunDirectory;
use fineline_run::events::EventRecord;
use fineline_run::jsonl::read_lines;
use fineline_run::metrics::MetricsRecord;
use fineline_run::probe::ProbeRecord;

use super::{grouped, print};
use crate::args::WatchArgs;
use crate::table::probe_round;

/// Takes the cursor home and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How many of the latest events are shown.
const LATEST_EVENTS: usize = 4;

/// `fineline watch`
pub(crate) fn watch(args: &WatchArgs) -> Result<()> {
    ensure!(RunDirectory::new(&args.run).config().is_file(), "{}: no run in this folder", args.run.display());
    loop {
        let state = describe(&args.run)?;
        if args.once || !std::io::stdout().is_terminal() {
            return print(&state);
        }
        print(&format!("{CLEAR}{state}"))?;
        std::io::stdout().flush()?;
        std::thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

/// The state of a run as its folder tells it.
fn describe(run: &Path) -> Result<String> {
    let directory = RunDirectory::new(run);
    let metrics: Vec<MetricsRecord> = read_lines(&directory.metrics())?;
    let probes: Vec<ProbeRecord> = read_lines(&directory.probes())?;
    let mut text = format!("{}\n", run.display());
    if let Some(identity) = directory.stored_identity()? {
        writeln!(
            text,
            "{} · {} parameters · {}",
            identity.name,
            grouped(identity.parameters),
            identity.device
        )?;
    }
    let total =
        directory.stored_config()?.and_then(|config| config.train.total_steps(config.data.seq_len).ok());
    match metrics.last() {
        None => writeln!(text, "no step logged yet")?,
        Some(last) => {
            let total = total.map_or_else(String::new, |total| format!(" of {total}"));
            let loss = last.loss.map_or_else(|| "not finite".to_owned(), |loss| format!("{loss:.4}"));
            writeln!(
                text,
                "step {}{total} · {} tokens · loss {loss} · {:.0} tokens/s",
                last.step,
                grouped(last.tokens),
                last.tokens_per_s
            )?;
        }
    }
    let events: Vec<EventRecord> = read_lines(&directory.events())?;
    for record in events.iter().rev().take(LATEST_EVENTS).rev() {
        writeln!(text, "  {}  step {}: {}", record.time.strftime("%F %T"), record.step, record.event)?;
    }
    if let Some(step) = probes.iter().map(|record| record.step).max() {
        let latest: Vec<ProbeRecord> = probes.into_iter().filter(|record| record.step == step).collect();
        writeln!(text, "\nprobes at step {step}\n{}", probe_round(&latest))?;
    }
    Ok(text)
}
