//! The probe table: what a round of probes says, for people.

use comfy_table::{CellAlignment, Table, presets};
use fineline_run::probe::{Difference, Estimate, ProbeRecord, benjamini_hochberg, headline, is_above};

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

/// The share of changes marked in a table that may be marked by luck.
const FALSE_DISCOVERIES: f64 = 0.05;

/// One line a task. A `+` marks a score whose interval is clear above chance, a `*` a change that is more than luck among so many tasks.
fn probe_table(records: &[&ProbeRecord]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(COLUMNS);
    for index in NUMERIC {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (record, change) in records.iter().zip(changes(records)) {
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
            change,
            number(record.metrics.get("bits_per_byte").and_then(|bits| bits.value)),
            record.phase.map_or_else(dash, |phase| phase.to_string()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// The change of each task since its last round.
fn changes(records: &[&ProbeRecord]) -> Vec<String> {
    let differences = records.iter().map(|record| Some(record.delta.as_ref()?.difference));
    let p_values: Vec<Option<f64>> = differences.clone().map(|difference| difference?.p).collect();
    let change = |(difference, p): (Option<Difference>, Option<f64>)| {
        let mark = if p.is_some_and(|p| p < FALSE_DISCOVERIES) { "*" } else { "" };
        difference
            .and_then(|difference| difference.value)
            .map_or_else(dash, |value| format!("{mark}{value:+.3}"))
    };
    differences.zip(benjamini_hochberg(&p_values)).map(change).collect()
}

/// How many of the tasks that can be guessed at are clear above chance, and how many such tasks there are.
pub(crate) fn above_chance(records: &[ProbeRecord]) -> Option<(usize, usize)> {
    let verdicts: Vec<bool> = records.iter().filter_map(is_above_chance).collect();
    (!verdicts.is_empty()).then(|| (verdicts.iter().filter(|above| **above).count(), verdicts.len()))
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
