//! The probe table: what a round of probes says, for people.

use comfy_table::{CellAlignment, Table, presets};
use fineline_run::probe::{Estimate, Kind, ProbeRecord, is_above};

const COLUMNS: [&str; 10] = ["", "task", "domain", "n", "score", "95 % interval", "chance", "change", "bits/byte", "phase"];
const NUMERIC: [usize; 6] = [3, 4, 5, 6, 7, 8];

/// Formats a round of probes, one line a task. A `+` marks a score whose interval is clear above chance.
pub(crate) fn probe_table(records: &[ProbeRecord]) -> String {
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
        table.add_row([
            mark.to_owned(),
            record.task.clone(),
            record.domain.clone(),
            record.n.to_string(),
            number(score.value),
            interval(&score),
            number(record.chance),
            record.delta.as_ref().and_then(|delta| delta.difference.value).map_or_else(dash, |change| format!("{change:+.3}")),
            number(record.metrics.get("bits_per_byte").and_then(|bits| bits.value)),
            record.phase.map_or_else(dash, |phase| phase.to_string()),
        ]);
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
