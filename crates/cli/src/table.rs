//! The probe table: what a round of probes says, for people.

use comfy_table::{CellAlignment, Table, presets};
use fineline_run::probe::{Estimate, Kind, ProbeRecord, is_above};

const COLUMNS: [&str; 10] =
    ["", "task", "domain", "n", "score", "95 % interval", "chance", "change", "bits/byte", "phase"];
const NUMERIC: [usize; 6] = [3, 4, 5, 6, 7, 8];

/// A round of probes for people: a table of the tasks, and a sentence for each source of validation text.
pub(crate) fn probe_round(records: &[ProbeRecord]) -> String {
    let (validation, tasks): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.is_validation());
    let mut lines: Vec<String> = validation.into_iter().map(validation_line).collect();
    if !tasks.is_empty() {
        lines.push(probe_table(&tasks));
    }
    lines.join("\n")
}

fn validation_line(record: &ProbeRecord) -> String {
    let bits = headline(record);
    let perplexity = record.metrics.get("token_perplexity").and_then(|perplexity| perplexity.value);
    format!(
        "  {}: {} bits/byte ({}), token perplexity {}",
        record.task,
        number(bits.value),
        interval(&bits),
        perplexity.map_or_else(dash, |value| format!("{value:.2}"))
    )
}

/// One line a task. A `+` marks a score whose interval is clear above chance.
fn probe_table(records: &[&ProbeRecord]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(COLUMNS);
    for index in NUMERIC {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for record in records {
        let score = headline(record);
        let mark = if is_above_chance(record) == Some(true) { "+" } else { "" };
        let change = record.delta.as_ref().and_then(|delta| delta.difference.value);
        table.add_row([
            mark.to_owned(),
            record.task.clone(),
            record.domain.clone(),
            record.n.to_string(),
            number(score.value),
            interval(&score),
            number(record.chance),
            change.map_or_else(dash, |change| format!("{change:+.3}")),
            number(record.metrics.get("bits_per_byte").and_then(|bits| bits.value)),
            record.phase.map_or_else(dash, |phase| phase.to_string()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// How many of the tasks that can be guessed at are clear above chance, and how many such tasks there are.
pub(crate) fn above_chance(records: &[ProbeRecord]) -> Option<(usize, usize)> {
    let verdicts: Vec<bool> = records.iter().filter_map(is_above_chance).collect();
    (!verdicts.is_empty()).then(|| (verdicts.iter().filter(|above| **above).count(), verdicts.len()))
}

/// The score that a task is known by: its accuracy, or bits per byte where there is no answer to be right.
fn headline(record: &ProbeRecord) -> Estimate {
    let metric = if record.kind == Kind::Perplexity { "bits_per_byte" } else { "acc" };
    record.metrics.get(metric).copied().unwrap_or_default()
}

fn is_above_chance(record: &ProbeRecord) -> Option<bool> {
    is_above(&headline(record), record.chance?)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| format!("{value:.3}"))
}

fn interval(estimate: &Estimate) -> String {
    match (estimate.lo, estimate.hi) {
        (Some(lo), Some(hi)) => format!("{lo:.3} – {hi:.3}"),
        _ => dash(),
    }
}

fn dash() -> String {
    "–".to_owned()
}
