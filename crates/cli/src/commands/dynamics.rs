//! `fineline dynamics`: comparison with published results.

use std::fmt::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use fineline_run::probe::SeriesPosition;
use fineline_run::tools::published::{
    ComparedPoint, ComparedSeries, Comparison, NotCompared, PublishedError, compare_with_published,
};
use serde_json::json;

use crate::args::DynamicsArgs;
use crate::output::{grouped, print, print_json};
use crate::probe_table::{interval, number};

const COLUMNS: [&str; 8] =
    ["task", "metric", "step", "tokens", "measured", "95 % interval", "published", "band"];
const NUMERIC: [usize; 5] = [2, 3, 4, 5, 6];

/// `fineline dynamics`
pub(crate) fn dynamics(args: &DynamicsArgs) -> Result<()> {
    let compared = args.runs.iter().map(|run| compare_with_published(run, &args.reference));
    let comparisons = compared.collect::<Result<Vec<Comparison>, PublishedError>>()?;
    if args.json {
        return print_json(&json!({ "comparisons": comparisons }));
    }
    print(&comparisons.iter().map(page).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn page(comparison: &Comparison) -> Result<String, std::fmt::Error> {
    let mut page = format!("{} compared with {}\n", comparison.run.display(), comparison.reference);
    if !comparison.series.is_empty() {
        page.push_str(&table(&comparison.series));
        page.push('\n');
    }
    for series in &comparison.series {
        page.push_str(&format_band(series)?);
    }
    for NotCompared { task, metric, reason } in &comparison.not_compared {
        writeln!(page, "{task} {metric}: not compared, {reason}")?;
    }
    Ok(page)
}

fn table(series: &[ComparedSeries]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(COLUMNS);
    for index in NUMERIC {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(series.iter().flat_map(|series| series.points.iter().map(|point| row(series, point))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn row(series: &ComparedSeries, point: &ComparedPoint) -> [String; COLUMNS.len()] {
    let ComparedPoint { step, tokens, measured, published, place } = point;
    [
        series.task.clone(),
        series.metric.clone(),
        grouped(*step),
        grouped(*tokens),
        number(measured.value),
        interval(measured),
        format!("{:.3} ± {}", published.value, format_uncertainty(published.uncertainty)),
        place.map_or("not measured", band_name).to_owned(),
    ]
}

/// Formats an uncertainty with as many digits as it has, up to five.
fn format_uncertainty(uncertainty: f64) -> String {
    let digits = format!("{uncertainty:.5}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Describes where a series leaves the published band: each measurement on another side than the one before.
fn format_band(series: &ComparedSeries) -> Result<String, std::fmt::Error> {
    let inside = series.points.iter().filter(|point| point.place == Some(SeriesPosition::Inside)).count();
    let mut line =
        format!("{} {}: inside at {inside} of {}", series.task, series.metric, series.points.len());
    let mut before = Some(SeriesPosition::Inside);
    for point in &series.points {
        if point.place != before {
            let band = point.place.map_or("not measured", band_name);
            write!(line, ", {band} from {} tokens onward", grouped(point.tokens))?;
        }
        before = point.place;
    }
    line.push('\n');
    Ok(line)
}

fn band_name(place: SeriesPosition) -> &'static str {
    match place {
        SeriesPosition::Inside => "inside",
        SeriesPosition::Above => "above",
        SeriesPosition::Below => "below",
    }
}
