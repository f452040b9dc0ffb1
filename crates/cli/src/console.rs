//! A run in the terminal: a progress bar on standard error, probe tables on standard output.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use fineline_run::Progress;
use fineline_run::events::{Event, EventRecord};
use fineline_run::metrics::MetricsRecord;
use fineline_run::probe::ProbeRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::messages::{TARGET, is_json, say};
use crate::output::grouped;
use crate::probe_table::{above_chance, probe_round};

/// Without a terminal, a line about progress comes this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows [`Progress`] as it comes.
pub(crate) struct Console {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Instant,
    latest_probes: String,
    tables: Tables,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    Shown,
    Hidden,
}

impl Console {
    /// Shows everything.
    pub(crate) fn new() -> Self {
        Self::with_tables(Tables::Shown)
    }

    /// Leaves standard output to the caller.
    pub(crate) fn without_tables() -> Self {
        Self::with_tables(Tables::Hidden)
    }

    fn with_tables(tables: Tables) -> Self {
        let is_terminal = !is_json() && std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(spinner());
        Self { bar, is_terminal, last_line: Instant::now(), latest_probes: String::new(), tables }
    }

    /// Shows one piece of progress.
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Preparing(what) => self.announce(format!("preparing: {what}")),
            Progress::Waiting { cache, process } => {
                let whom = process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
                self.note(&format!("waiting for {whom}, which fills {}", cache.display()));
            }
            Progress::Serving { address } => self.note(&format!("metrics at http://{address}/metrics")),
            Progress::Training { step, total_steps, parameters, directory } => {
                self.note(&format!("training {} parameters in {}", grouped(parameters), directory.display()));
                self.bar.reset();
                self.bar.set_style(bar());
                self.bar.set_length(total_steps);
                self.bar.set_position(step);
                self.bar.reset_eta();
            }
            Progress::Step(record) => self.step(record),
            Progress::Probing { suite, step } => self.announce(format!("probing: {suite} at step {step}")),
            Progress::Probed(records) => self.probed(records),
            Progress::Event(record) => self.event(record),
            _ => {}
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// What is being done, until something else is.
    pub(crate) fn announce(&self, message: String) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// A line that stays.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    fn step(&mut self, record: &MetricsRecord) {
        self.bar.set_position(record.step);
        let loss = record.loss.map_or_else(|| "not finite".to_owned(), |loss| format!("{loss:.3}"));
        let speed = grouped(record.tokens_per_s as u64);
        self.bar.set_message(format!("loss {loss}  {speed} tokens/s  {}", self.latest_probes));
        if !self.is_terminal && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let MetricsRecord { step, tokens_per_s, .. } = *record;
            if is_json() {
                tracing::info!(target: TARGET, step, loss = record.loss, tokens_per_s, "step {step}");
            } else {
                say(&format!("step {step}  loss {loss}  {speed} tokens/s  {}", self.latest_probes));
            }
        }
    }

    fn probed(&mut self, records: &[ProbeRecord]) {
        let Some(first) = records.first() else { return };
        if let Some((above, tasks)) = above_chance(records) {
            self.latest_probes = format!("above chance: {above} of {tasks} (step {})", first.step);
        }
        if self.tables == Tables::Hidden {
            return;
        }
        let title = format!("step {} · {} tokens", first.step, grouped(first.tokens));
        let round = probe_round(records);
        self.bar.suspend(|| {
            // A reader that went away must not end the training.
            let _ = writeln!(std::io::stdout(), "\n{title}\n{round}");
        });
    }

    fn event(&self, record: &EventRecord) {
        if is_json() {
            tracing::info!(target: TARGET, step = record.step, "{}", record.event);
        } else if !matches!(
            record.event,
            Event::Started
                | Event::Checkpoint { .. }
                | Event::Mirrored { .. }
                | Event::Stopped { .. }
                | Event::ProbeRound { .. }
        ) {
            self.note(&format!("step {}: {}", record.step, record.event));
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos}/{len}  {eta} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
