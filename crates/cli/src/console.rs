//! Progress of a run in the terminal: a progress bar on standard error, probe tables on standard output.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use fineline_run::RunProgress;
use fineline_run::probe::ProbeRecord;
use fineline_run::records::events::{Event, EventRecord};
use fineline_run::records::metrics::MetricsRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::messages::{TARGET, is_json, print_message};
use crate::output::grouped;
use crate::probe_table::{above_chance, probe_round};

/// Interval of progress lines if standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the [`RunProgress`] of a run.
pub(crate) struct Console {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Instant,
    latest_probes: String,
    tables: TableVisibility,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TableVisibility {
    Shown,
    Hidden,
}

impl Console {
    /// Returns a console that also prints probe tables.
    pub(crate) fn new() -> Self {
        Self::with_tables(TableVisibility::Shown)
    }

    /// Returns a console that prints nothing to standard output.
    pub(crate) fn without_tables() -> Self {
        Self::with_tables(TableVisibility::Hidden)
    }

    fn with_tables(tables: TableVisibility) -> Self {
        let is_terminal = !is_json() && std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(spinner_style());
        Self { bar, is_terminal, last_line: Instant::now(), latest_probes: String::new(), tables }
    }

    /// Shows one update.
    pub(crate) fn show(&mut self, progress: RunProgress<'_>) {
        match progress {
            RunProgress::Preparing(what) => self.announce(format!("preparing: {what}")),
            RunProgress::Waiting { cache, process } => {
                let other =
                    process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
                self.note(&format!("waiting for {other}, which is writing {}", cache.display()));
            }
            RunProgress::Serving { address } => self.note(&format!("metrics at http://{address}/metrics")),
            RunProgress::Training { step, total_steps, parameters, directory } => {
                self.note(&format!("training {} parameters in {}", grouped(parameters), directory.display()));
                self.bar.reset();
                self.bar.set_style(bar_style());
                self.bar.set_length(total_steps);
                self.bar.set_position(step);
                self.bar.reset_eta();
            }
            RunProgress::Step(record) => self.step(record),
            RunProgress::Evaluating { suite, step } => {
                self.announce(format!("evaluating: {suite} at step {step}"));
            }
            RunProgress::Evaluated(records) => self.probed(records),
            RunProgress::Event(record) => self.event(record),
            _ => {}
        }
    }

    /// Removes the progress bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows the current activity in the progress bar.
    pub(crate) fn announce(&self, message: String) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// Prints a line above the progress bar.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| print_message(line));
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
                print_message(&format!("step {step}  loss {loss}  {speed} tokens/s  {}", self.latest_probes));
            }
        }
    }

    fn probed(&mut self, records: &[ProbeRecord]) {
        let Some(first) = records.first() else { return };
        if let Some((above, tasks)) = above_chance(records) {
            self.latest_probes = format!("above chance: {above} of {tasks} (step {})", first.step);
        }
        if self.tables == TableVisibility::Hidden {
            return;
        }
        let title = format!("step {} · {} tokens", first.step, grouped(first.tokens));
        let round = probe_round(records);
        self.bar.suspend(|| {
            // A closed standard output must not end the training.
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
                | Event::Uploaded { .. }
                | Event::Stopped { .. }
                | Event::EvaluationFinished { .. }
        ) {
            self.note(&format!("step {}: {}", record.step, record.event));
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos}/{len}  {eta} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
