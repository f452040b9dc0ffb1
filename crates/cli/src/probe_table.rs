//! The table of an evaluation round.

use comfy_table::{CellAlignment, Table, presets};
use fineline_run::probe::{
    Delta, Estimate, PairedDifference, ProbeRecord, benjamini_hochberg, is_above, primary_metric,
};

const COLUMNS: [&str; 12] = [
    "",
    "task",
    "domain",
    "n",
    "score",
    "95 % interval",
    "chance",
    "change",
    "detectable",
    "since best",
    "bits/byte",
    "phase",
];
const NUMERIC: [usize; 8] = [3, 4, 5, 6, 7, 8, 9, 10];

/// Formats an evaluation round: a line for each validation source, and a table of the tasks and groups.
pub(crate) fn probe_round(records: &[ProbeRecord]) -> String {
    let (validation, tasks): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.is_validation());
    let mut lines: Vec<String> = validation.into_iter().map(validation_line).collect();
    if !tasks.is_empty() {
        lines.push(probe_table(&tasks));
    }
    lines.join("\n")
}

fn validation_line(record: &ProbeRecord) -> String {
    let bits = primary_metric(record);
    let perplexity = record.metrics.get("token_perplexity").and_then(|perplexity| perplexity.value);
    format!(
        "  {}: {} bits/byte ({}), token perplexity {}",
        record.task,
        number(bits.value),
        interval(&bits),
        perplexity.map_or_else(dash, |value| format!("{value:.2}"))
    )
}

/// Expected fraction of false discoveries among the changes marked in a table.
const FALSE_DISCOVERIES: f64 = 0.05;

/// Formats one line per task, then one per group.
///
/// `+` marks a score whose interval is entirely above chance, `*` a change that is significant after
/// correction for the number of changes in the table.
fn probe_table(records: &[&ProbeRecord]) -> String {
    let (groups, tasks): (Vec<&ProbeRecord>, Vec<&ProbeRecord>) =
        records.iter().partition(|record| record.is_group());
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(COLUMNS);
    for index in NUMERIC {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Groups repeat the scores of their tasks, so that their changes are a separate family of tests.
    table.add_rows(rows(&tasks));
    table.add_rows(rows(&groups));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn rows(records: &[&ProbeRecord]) -> Vec<[String; COLUMNS.len()]> {
    let changes = format_changes(records, |record| record.delta.as_ref());
    let since_best = format_changes_since_best(records);
    let row = |((record, change), since_best): ((&&ProbeRecord, String), String)| {
        let score = primary_metric(record);
        let mark = if is_above_chance(record) == Some(true) { "+" } else { "" };
        let members = record.members.len();
        [
            mark.to_owned(),
            record.task.clone(),
            if record.is_group() { format!("{members} tasks") } else { record.domain.clone() },
            record.n.to_string(),
            number(score.value),
            interval(&score),
            number(record.chance),
            change,
            number(record.min_detectable_effect),
            since_best,
            number(record.metrics.get("bits_per_byte").and_then(|bits| bits.value)),
            record.phase.map_or_else(dash, |phase| phase.to_string()),
        ]
    };
    records.iter().zip(changes).zip(since_best).map(row).collect()
}

/// Formats the change of each score since the best earlier one, and the step of that.
fn format_changes_since_best(records: &[&ProbeRecord]) -> Vec<String> {
    let with_step = |(change, record): (String, &&ProbeRecord)| match &record.best {
        Some(best) => format!("{change} @{}", best.step),
        None => change,
    };
    format_changes(records, |record| record.best.as_ref()).into_iter().zip(records).map(with_step).collect()
}

/// Formats the changes since an earlier round, and marks the significant ones.
fn format_changes(records: &[&ProbeRecord], since: fn(&ProbeRecord) -> Option<&Delta>) -> Vec<String> {
    let differences = records.iter().map(|record| Some(since(record)?.difference));
    let p_values: Vec<Option<f64>> = differences.clone().map(|difference| difference?.p).collect();
    let change = |(difference, p): (Option<PairedDifference>, Option<f64>)| {
        let mark = if p.is_some_and(|p| p < FALSE_DISCOVERIES) { "*" } else { "" };
        difference
            .and_then(|difference| difference.value)
            .map_or_else(dash, |value| format!("{mark}{value:+.3}"))
    };
    differences.zip(benjamini_hochberg(&p_values)).map(change).collect()
}

/// Returns the number of tasks whose scores are clearly above chance, and the number of tasks that have a
/// chance level.
pub(crate) fn above_chance(records: &[ProbeRecord]) -> Option<(usize, usize)> {
    let tasks = records.iter().filter(|record| !record.is_group());
    let verdicts: Vec<bool> = tasks.filter_map(is_above_chance).collect();
    (!verdicts.is_empty()).then(|| (verdicts.iter().filter(|above| **above).count(), verdicts.len()))
}

fn is_above_chance(record: &ProbeRecord) -> Option<bool> {
    is_above(&primary_metric(record), record.chance?)
}

pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| format!("{value:.3}"))
}

pub(crate) fn interval(estimate: &Estimate) -> String {
    match (estimate.lo, estimate.hi) {
        (Some(lo), Some(hi)) => format!("{lo:.3} – {hi:.3}"),
        _ => dash(),
    }
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(fields: Value) -> ProbeRecord {
        let provenance = json!({"data": "", "template": "", "tokenizer": "", "scorer": ""});
        let mut record = json!({
            "step": 200, "tokens": 409_600, "domain": "language", "kind": "multiple_choice", "n": 100,
            "shots": 0, "chance": 0.25, "primary_metric": "acc", "metrics": {}, "delta": null, "best": null,
            "min_detectable_effect": null, "phase": null, "truncated": 0, "non_finite": 0, "seconds": 0.5,
            "provenance": provenance,
        });
        let Value::Object(fields) = fields else { unreachable!() };
        record.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(record).unwrap()
    }

    fn estimate(value: f64, stderr: f64) -> Value {
        json!({"value": value, "stderr": stderr, "lo": value - 2.0 * stderr, "hi": value + 2.0 * stderr})
    }

    fn change(step: u64, value: f64, p: f64) -> Value {
        json!({
            "metric": "acc", "step": step, "before": 0.5, "n": 100, "value": value, "stderr": 0.02, "p": p,
        })
    }

    fn round() -> Vec<ProbeRecord> {
        let bits = estimate(1.2, 0.05);
        vec![
            record(json!({
                "task": "validation/web", "kind": "perplexity", "chance": null,
                "primary_metric": "bits_per_byte",
                "metrics": {"bits_per_byte": bits, "token_perplexity": estimate(31.5, 1.0)},
            })),
            record(json!({
                "task": "word_order", "metrics": {"acc": estimate(0.6, 0.05), "bits_per_byte": bits},
                "delta": change(100, 0.1, 0.001), "best": change(100, 0.1, 0.001),
                "min_detectable_effect": 0.056, "phase": "rising",
            })),
            record(json!({
                "task": "agreement", "metrics": {"acc": estimate(0.3, 0.05)}, "phase": "chance",
                "delta": change(100, 0.02, 0.4), "best": change(4, -0.08, 0.04),
                "min_detectable_effect": 0.056,
            })),
            record(json!({
                "task": "new", "metrics": {"acc": estimate(0.3, 0.05)}, "min_detectable_effect": 0.198,
            })),
            record(json!({
                "task": "suite/language", "members": ["word_order", "agreement"], "kind": null, "n": 200,
                "metrics": {"acc": estimate(0.45, 0.035)}, "phase": "rising",
                "delta": change(100, 0.06, 0.03), "best": change(100, 0.06, 0.03),
                "min_detectable_effect": 0.04,
            })),
        ]
    }

    #[test]
    fn a_round_reads_as_a_table() {
        insta::assert_snapshot!(probe_round(&round()), @r"
          validation/web: 1.200 bits/byte (1.100 – 1.300), token perplexity 31.50
           task            domain      n  score  95 % interval  chance   change  detectable    since best  bits/byte  phase
        +  word_order      language  100  0.600  0.500 – 0.700   0.250  *+0.100       0.056  *+0.100 @100      1.200  rising
           agreement       language  100  0.300  0.200 – 0.400   0.250   +0.020       0.056    *-0.080 @4          –  chance
           new             language  100  0.300  0.200 – 0.400   0.250        –       0.198             –          –  –
        +  suite/language  2 tasks   200  0.450  0.380 – 0.520   0.250  *+0.060       0.040  *+0.060 @100          –  rising
        ");
    }

    #[test]
    fn groups_are_not_counted_among_the_tasks() {
        assert_eq!(above_chance(&round()), Some((1, 3)));
    }
}
