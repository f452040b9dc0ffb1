//! The Markdown table of lm-evaluation-harness, so that results can be compared side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

const COLUMNS: usize = 9;
const NARROWEST: usize = 3;

/// Formats the table of tasks and, if there are any, of groups, from a results object in the harness's
/// layout.
pub(crate) fn lm_eval_tables(results: &Value) -> Vec<String> {
    let has_groups = results["groups"].as_object().is_some_and(|groups| !groups.is_empty());
    let mut tables = vec![table(results, "results")];
    tables.extend(has_groups.then(|| table(results, "groups")));
    tables
}

/// Formats one table, as `lm_eval.utils.make_table` does.
fn table(results: &Value, of: &str) -> String {
    let empty = Map::new();
    let entries = results[of].as_object().unwrap_or(&empty);
    let first = if of == "groups" { "Groups" } else { "Tasks" };
    let mut rows = Vec::new();
    for (depth, key) in hierarchy(&results["group_subtasks"], entries) {
        rows.extend(rows_of(results, key, &entries[key], depth));
    }
    markdown([first, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"], &rows)
}

/// Returns the keys of `entries`, each after the group that contains it, with its nesting depth.
fn hierarchy<'a>(subtasks: &'a Value, entries: &'a Map<String, Value>) -> Vec<(usize, &'a str)> {
    let children = |name: &str| -> BTreeSet<&'a str> {
        subtasks[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let names: BTreeSet<&str> =
        subtasks.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let inner: BTreeSet<&str> = names.iter().flat_map(|name| children(name)).collect();
    let (mut ordered, mut seen) = (Vec::new(), BTreeMap::new());
    let mut open: Vec<(usize, &str)> =
        names.iter().rev().filter(|name| !inner.contains(*name)).map(|name| (0, *name)).collect();
    while let Some((depth, name)) = open.pop() {
        if seen.insert(name, depth).is_some() {
            continue;
        }
        ordered.extend(entries.contains_key(name).then_some((depth, name)));
        open.extend(children(name).into_iter().rev().map(|child| (depth + 1, child)));
    }
    let others: BTreeSet<&str> =
        entries.keys().map(String::as_str).filter(|key| !seen.contains_key(key)).collect();
    ordered.extend(others.into_iter().map(|key| (0, key)));
    ordered
}

/// Returns one row per metric. Only the first row has the name and the version.
fn rows_of(results: &Value, key: &str, scores: &Value, depth: usize) -> Vec<[String; COLUMNS]> {
    let empty = Map::new();
    let scores = scores.as_object().unwrap_or(&empty);
    let alias = scores.get("alias").and_then(Value::as_str).unwrap_or(key);
    let mut name = if depth > 0 { format!("{}- {alias}", " ".repeat(depth)) } else { alias.to_owned() };
    let mut version = results["versions"].get(key).map_or_else(|| "    N/A".to_owned(), plain);
    let shots = results["n-shot"].get(key).map_or_else(|| " ".to_owned(), plain);
    let about = ["alias", "name", "sample_len", "sample_count"];
    let sorted: BTreeMap<&String, &Value> =
        scores.iter().filter(|(field, _)| !about.contains(&field.as_str())).collect();
    let mut rows = Vec::new();
    for (field, value) in sorted {
        let (metric, filter) = field.split_once(',').unwrap_or((field, ""));
        if metric.ends_with("_stderr") {
            continue;
        }
        let arrow = match results["higher_is_better"][key][metric].as_bool() {
            Some(true) => "↑",
            Some(false) => "↓",
            None => "",
        };
        let (sign, stderr) = match scores.get(&format!("{metric}_stderr,{filter}")) {
            None => ("", String::new()),
            Some(Value::String(unknown)) if unknown == "N/A" => ("±", "   N/A".to_owned()),
            Some(stderr) => {
                ("±", stderr.as_f64().map_or_else(|| plain(stderr), |stderr| format!("{stderr:.4}")))
            }
        };
        let value =
            if value.is_f64() { format!("{:.4}", value.as_f64().unwrap_or_default()) } else { plain(value) };
        let texts =
            [std::mem::take(&mut name), std::mem::take(&mut version), filter.to_owned(), shots.clone()];
        let [name, version, filter, shots] = texts;
        rows.push([
            name,
            version,
            filter,
            shots,
            metric.to_owned(),
            arrow.to_owned(),
            value,
            sign.to_owned(),
            stderr,
        ]);
    }
    rows
}

/// Formats a value, strings without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Formats a table as pytablewriter's `MarkdownTableWriter` does.
fn markdown(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let columns: Vec<Column> = header
        .iter()
        .enumerate()
        .map(|(index, name)| Column::new(name, rows.iter().map(|row| row[index].as_str())))
        .collect();
    let line = |cell: &dyn Fn(&Column) -> String| {
        format!("|{}|\n", columns.iter().map(cell).collect::<Vec<_>>().join("|"))
    };
    let mut text = line(&|column| column.header());
    text.push_str(&line(&|column| column.rule()));
    for row in 0..rows.len() {
        text.push_str(&line(&|column| column.cell(row)));
    }
    text
}

struct Column<'a> {
    name: &'a str,
    cells: Vec<Cell>,
    /// Whether all cells that are not empty are numbers.
    is_numeric: bool,
    width: usize,
}

/// The text and the alignment of a cell.
struct Cell {
    text: String,
    side: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl<'a> Column<'a> {
    /// Returns a column with formatted cells.
    ///
    /// All numbers have as many decimals as the number with the most. In a column that also has texts,
    /// numbers are right-aligned and whole numbers have no decimals. If the first cell is a text, all cells
    /// are texts.
    fn new(name: &'a str, cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        let is_empty = |cell: &&str| cell.trim().is_empty();
        let starts_with_text =
            cells.clone().next().is_some_and(|cell| !is_empty(&cell) && number(cell).is_none());
        let mut filled = cells.clone().filter(|cell| !is_empty(cell)).peekable();
        let is_numeric = filled.peek().is_some() && filled.all(|cell| number(cell).is_some());
        let places = cells.clone().filter_map(number).map(decimals).max().unwrap_or(0);
        let cell = |text: &str| match number(text) {
            Some(value) if !starts_with_text => {
                let places = if is_numeric || decimals(value) > 0 { places } else { 0 };
                Cell { text: format!("{value:.places$}"), side: Side::Right }
            }
            _ => Cell { text: text.to_owned(), side: Side::Left },
        };
        let cells: Vec<Cell> = cells.map(cell).collect();
        let widths = cells.iter().map(|cell| cell.text.width());
        let width = widths.chain([name.width(), NARROWEST]).max().unwrap_or(NARROWEST);
        Self { name, cells, is_numeric, width }
    }

    fn header(&self) -> String {
        let missing = self.width - self.name.width();
        format!("{}{}{}", " ".repeat(missing / 2), self.name, " ".repeat(missing - missing / 2))
    }

    fn rule(&self) -> String {
        if self.is_numeric { format!("{}:", "-".repeat(self.width - 1)) } else { "-".repeat(self.width) }
    }

    fn cell(&self, row: usize) -> String {
        let Cell { text, side } = &self.cells[row];
        let space = " ".repeat(self.width - text.width());
        if *side == Side::Right { format!("{space}{text}") } else { format!("{text}{space}") }
    }
}

fn number(cell: &str) -> Option<f64> {
    cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns the number of decimals that a number needs.
fn decimals(number: f64) -> usize {
    number.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixture is made by `scripts/fixtures/lm_eval_table.py`.
    #[test]
    fn tables_are_those_of_the_harness() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/lm_eval_table.json");
        let cases: Vec<Value> = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            let expected: Vec<&str> =
                case["tables"].as_array().unwrap().iter().map(|table| table.as_str().unwrap()).collect();
            let tables = lm_eval_tables(&case["results"]);
            assert_eq!(tables, expected, "\n{}\n{}", tables.join("\n"), expected.join("\n"));
        }
    }
}
