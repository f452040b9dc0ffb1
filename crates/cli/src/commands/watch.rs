//! `fineline watch`: a run followed in the terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use fineline_run::RunDirectory;
use fineline_run::probe::ProbeRecord;
use fineline_run::records::events::{Event, EventRecord};
use fineline_run::records::identity::{RunIdentity, read_run_config};
use fineline_run::records::jsonl::{LogFollower, NewLinesKind};
use fineline_run::records::metrics::MetricsRecord;

use crate::args::WatchArgs;
use crate::output::{grouped, print};
use crate::probe_table::probe_round;

/// Moves the cursor home and clears the screen below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Number of events that are shown.
const LATEST_EVENTS: usize = 4;

/// `fineline watch`
pub(crate) fn watch(args: &WatchArgs) -> Result<()> {
    let directory = RunDirectory::new(&args.run);
    let is_there = directory.is_run() || directory.is_sweep();
    ensure!(is_there, "{}: no run in this directory", args.run.display());
    let mut watched = WatchedRun::new(&args.run);
    loop {
        watched.update()?;
        let state = watched.describe()?;
        if args.once || !std::io::stdout().is_terminal() {
            return print(&state);
        }
        print(&format!("{CLEAR}{state}"))?;
        std::io::stdout().flush()?;
        std::thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

/// The records of a run's logs that are shown.
struct WatchedRun {
    directory: RunDirectory,
    metrics: LogTail<MetricsRecord>,
    events: LogTail<EventRecord>,
    probes: LogTail<ProbeRecord>,
}

impl WatchedRun {
    fn new(run: &Path) -> Self {
        let directory = RunDirectory::new(run);
        Self {
            metrics: LogTail::new(&directory.metrics()),
            events: LogTail::new(&directory.events()),
            probes: LogTail::new(&directory.probes()),
            directory,
        }
    }

    /// Reads the records that were logged since the last update.
    fn update(&mut self) -> Result<()> {
        self.metrics.update(|records| keep_last(records, 1))?;
        self.events.update(|records| {
            // Its scores are in the table.
            records.retain(|record| !matches!(record.event, Event::EvaluationFinished { .. }));
            keep_last(records, LATEST_EVENTS);
        })?;
        self.probes.update(|records| {
            let latest = records.iter().map(|record| record.step).max();
            records.retain(|record| Some(record.step) == latest);
        })
    }

    /// Returns the state of the run as text.
    fn describe(&self) -> Result<String> {
        let mut text = format!("{}\n", self.directory.root().display());
        if let Some(identity) = RunIdentity::read(&self.directory)? {
            let parameters = grouped(identity.parameters);
            writeln!(text, "{} · {parameters} parameters · {}", identity.name, identity.device)?;
        }
        match self.metrics.records.last() {
            None if self.directory.is_sweep() => {}
            None => writeln!(text, "no step logged yet")?,
            Some(last) => {
                let config = read_run_config(&self.directory)?;
                let total = config.and_then(|config| config.train.total_steps(config.data.seq_len).ok());
                let total = total.map_or_else(String::new, |total| format!(" of {total}"));
                let loss = last.loss.map_or_else(|| "not finite".to_owned(), |loss| format!("{loss:.4}"));
                let (step, tokens, speed) = (last.step, grouped(last.tokens), last.tokens_per_s);
                write!(text, "step {step}{total} · {tokens} tokens · loss {loss}")?;
                writeln!(text, " · {speed:.0} tokens/s")?;
            }
        }
        for record in &self.events.records {
            let time = record.time.strftime("%F %T");
            writeln!(text, "  {time}  step {}: {}", record.step, record.event)?;
        }
        if let Some(first) = self.probes.records.first() {
            writeln!(text, "\nprobes at step {}\n{}", first.step, probe_round(&self.probes.records))?;
        }
        Ok(text)
    }
}

/// The last records of a log.
struct LogTail<T> {
    follower: LogFollower<T>,
    records: Vec<T>,
}

impl<T: serde::de::DeserializeOwned> LogTail<T> {
    fn new(log: &Path) -> Self {
        Self { follower: LogFollower::new(log), records: Vec::new() }
    }

    /// Reads new records, and drops old ones with `forget`.
    fn update(&mut self, forget: impl FnOnce(&mut Vec<T>)) -> Result<()> {
        let news = self.follower.read()?;
        if news.kind == NewLinesKind::Rewritten {
            self.records.clear();
        }
        self.records.extend(news.records);
        forget(&mut self.records);
        Ok(())
    }
}

fn keep_last<T>(records: &mut Vec<T>, count: usize) {
    records.drain(..records.len().saturating_sub(count));
}
