use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use fineline_run::RunDirectory;
use fineline_run::events::{Event, EventRecord};
use fineline_run::jsonl::{Follower, NewsKind};
use fineline_run::metrics::MetricsRecord;
use fineline_run::probe::ProbeRecord;

use crate::args::WatchArgs;
use crate::output::{grouped, print};
use crate::probe_table::probe_round;

/// Takes the cursor home and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How many of the latest events are shown.
const LATEST_EVENTS: usize = 4;

/// `fineline watch`
pub(crate) fn watch(args: &WatchArgs) -> Result<()> {
    let directory = RunDirectory::new(&args.run);
    let is_there = directory.is_run() || directory.is_sweep();
    ensure!(is_there, "{}: no run in this folder", args.run.display());
    let mut watched = Watched::new(&args.run);
    loop {
        watched.look()?;
        let state = watched.describe()?;
        if args.once || !std::io::stdout().is_terminal() {
            return print(&state);
        }
        print(&format!("{CLEAR}{state}"))?;
        std::io::stdout().flush()?;
        std::thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

/// A run, as far as its logs have been read, and of these what is shown.
struct Watched {
    directory: RunDirectory,
    metrics: Tail<MetricsRecord>,
    events: Tail<EventRecord>,
    probes: Tail<ProbeRecord>,
}

impl Watched {
    fn new(run: &Path) -> Self {
        let directory = RunDirectory::new(run);
        Self {
            metrics: Tail::new(&directory.metrics()),
            events: Tail::new(&directory.events()),
            probes: Tail::new(&directory.probes()),
            directory,
        }
    }

    /// Reads what was logged since the last look.
    fn look(&mut self) -> Result<()> {
        self.metrics.look(|records| keep_last(records, 1))?;
        self.events.look(|records| {
            // There is one for each of the tables below.
            records.retain(|record| !matches!(record.event, Event::ProbeRound { .. }));
            keep_last(records, LATEST_EVENTS);
        })?;
        self.probes.look(|records| {
            let latest = records.iter().map(|record| record.step).max();
            records.retain(|record| Some(record.step) == latest);
        })
    }

    /// The state of the run.
    fn describe(&self) -> Result<String> {
        let mut text = format!("{}\n", self.directory.root().display());
        if let Some(identity) = self.directory.stored_identity()? {
            let parameters = grouped(identity.parameters);
            writeln!(text, "{} · {parameters} parameters · {}", identity.name, identity.device)?;
        }
        match self.metrics.records.last() {
            None if self.directory.is_sweep() => {}
            None => writeln!(text, "no step logged yet")?,
            Some(last) => {
                let config = self.directory.stored_config()?;
                let total = config.and_then(|config| config.train.total_steps(config.data.seq_len).ok());
                let total = total.map_or_else(String::new, |total| format!(" of {total}"));
                let loss = last.loss.map_or_else(|| "not finite".to_owned(), |loss| format!("{loss:.4}"));
                let (step, tokens, speed) = (last.step, grouped(last.tokens), last.tokens_per_s);
                writeln!(text, "step {step}{total} · {tokens} tokens · loss {loss} · {speed:.0} tokens/s")?;
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

/// The end of a log.
struct Tail<T> {
    follower: Follower<T>,
    records: Vec<T>,
}

impl<T: serde::de::DeserializeOwned> Tail<T> {
    fn new(log: &Path) -> Self {
        Self { follower: Follower::new(log), records: Vec::new() }
    }

    /// Reads on, and has `forget` drop what isn't wanted any more.
    fn look(&mut self, forget: impl FnOnce(&mut Vec<T>)) -> Result<()> {
        let news = self.follower.read()?;
        if news.kind == NewsKind::Rewritten {
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
