//! Published results of other runs, as bands to compare a run with.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// A published curve of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedSeries {
    /// The task, or `train` for the training loss.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// Number of solved examples before each question. `None` for tasks without questions.
    pub shots: Option<usize>,
    /// Its values, sorted by tokens.
    pub points: Vec<PublishedPoint>,
}

/// A published value.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPoint {
    /// Name of the checkpoint. May be empty.
    pub checkpoint: String,
    /// Number of training tokens.
    pub tokens: u64,
    /// The value with its uncertainty.
    pub band: PublishedBand,
}

/// A published value with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PublishedBand {
    /// The value.
    pub value: f64,
    /// Half the width of the band around the value.
    pub uncertainty: f64,
}

/// Position of a measurement relative to a published value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesPosition {
    /// The measurement's interval overlaps the band.
    Inside,
    /// The interval is above the band.
    Above,
    /// The interval is below the band.
    Below,
}

/// A line of a reference file. `docs/references/README.md` documents the columns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedRow {
    task: String,
    metric: String,
    shots: Option<usize>,
    checkpoint: String,
    tokens: u64,
    value: f64,
    uncertainty: f64,
    #[serde(rename = "source")]
    _source: String,
}

/// Parses a reference file into series, in the order of first occurrence.
///
/// # Errors
/// Returns a message with the position in the file if a line doesn't have the expected columns, a value isn't
/// finite, an uncertainty is negative, or a number of tokens occurs twice in a series, or if the file has no
/// values.
pub fn parse_published(csv: &str) -> Result<Vec<PublishedSeries>, String> {
    let mut series: Vec<PublishedSeries> = Vec::new();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    for line in reader.deserialize() {
        let line: PublishedRow = line.map_err(|error| error.to_string())?;
        let position = format!("{} {} at {} tokens", line.task, line.metric, line.tokens);
        if !(line.value.is_finite() && line.uncertainty.is_finite() && line.uncertainty >= 0.0) {
            return Err(format!("{position}: expected finite numbers, and an uncertainty of at least 0"));
        }
        let is_same = |known: &PublishedSeries| {
            known.task == line.task && known.metric == line.metric && known.shots == line.shots
        };
        let index = series.iter().position(is_same).unwrap_or_else(|| {
            let (task, metric) = (line.task.clone(), line.metric.clone());
            series.push(PublishedSeries { task, metric, shots: line.shots, points: Vec::new() });
            series.len() - 1
        });
        let points = &mut series[index].points;
        if points.iter().any(|point| point.tokens == line.tokens) {
            return Err(format!("{position} occurs twice"));
        }
        let band = PublishedBand { value: line.value, uncertainty: line.uncertainty };
        points.push(PublishedPoint { checkpoint: line.checkpoint, tokens: line.tokens, band });
    }
    if series.is_empty() {
        return Err("the file has no values".to_owned());
    }
    for series in &mut series {
        series.points.sort_by_key(|point| point.tokens);
    }
    Ok(series)
}

impl PublishedSeries {
    /// Returns the band at a number of tokens, interpolated linearly over the logarithm of tokens. `None`
    /// before the first and after the last published value.
    #[must_use]
    pub fn band(&self, tokens: u64) -> Option<PublishedBand> {
        let after = self.points.iter().position(|point| point.tokens >= tokens)?;
        let next = &self.points[after];
        if next.tokens == tokens {
            return Some(next.band);
        }
        let last = &self.points[after.checked_sub(1)?];
        let log = |tokens: u64| (tokens as f64).ln();
        let share = (log(tokens) - log(last.tokens)) / (log(next.tokens) - log(last.tokens));
        let between = |from: f64, to: f64| from + share * (to - from);
        Some(PublishedBand {
            value: between(last.band.value, next.band.value),
            uncertainty: between(last.band.uncertainty, next.band.uncertainty),
        })
    }
}

impl PublishedBand {
    /// Returns the position of a measurement, by its 95 % interval, or by its value if it has none. `None` if
    /// nothing was measured.
    #[must_use]
    pub fn position(&self, measured: &Estimate) -> Option<SeriesPosition> {
        let value = measured.value?;
        let (lo, hi) = (measured.lo.unwrap_or(value), measured.hi.unwrap_or(value));
        Some(if lo > self.value + self.uncertainty {
            SeriesPosition::Above
        } else if hi < self.value - self.uncertainty {
            SeriesPosition::Below
        } else {
            SeriesPosition::Inside
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "task,metric,shots,checkpoint,tokens,value,uncertainty,source\n";

    fn parse(lines: &str) -> Result<Vec<PublishedSeries>, String> {
        parse_published(&format!("{HEADER}{lines}"))
    }

    #[test]
    fn values_between_two_published_ones_lie_on_a_line() {
        let series = parse("t,acc,5,b,10000,0.6,0.02,plot\nt,acc,5,a,100,0.2,0.01,plot\n")
            .expect("a series")
            .remove(0);
        assert_eq!((series.shots, series.points[0].checkpoint.as_str()), (Some(5), "a"));
        let band = series.band(1000).expect("between them");
        assert!((band.value - 0.4).abs() < 1e-12 && (band.uncertainty - 0.015).abs() < 1e-12);
        assert_eq!(series.band(100), Some(PublishedBand { value: 0.2, uncertainty: 0.01 }));
        assert_eq!((series.band(99), series.band(10_001), series.band(0)), (None, None, None));
    }

    #[test]
    fn a_measurement_lies_inside_where_it_overlaps_the_band() {
        let band = PublishedBand { value: 0.5, uncertainty: 0.01 };
        let measured = |lo, hi| Estimate {
            value: Some(f64::midpoint(lo, hi)),
            stderr: None,
            lo: Some(lo),
            hi: Some(hi),
        };
        assert_eq!(band.position(&measured(0.40, 0.49)), Some(SeriesPosition::Inside));
        assert_eq!(band.position(&measured(0.40, 0.48)), Some(SeriesPosition::Below));
        assert_eq!(band.position(&measured(0.52, 0.60)), Some(SeriesPosition::Above));
        let bare = Estimate { value: Some(0.505), ..Estimate::UNKNOWN };
        assert_eq!(
            (band.position(&bare), band.position(&Estimate::UNKNOWN)),
            (Some(SeriesPosition::Inside), None)
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        for (lines, expected) in [
            ("", "the file has no values"),
            ("t,acc,5,a,1,0.2,0.01\n", "found record with 7 fields"),
            ("t,acc,x,a,1,0.2,0.01,plot\n", "line: 2"),
            ("t,acc,5,a,1,NaN,0.01,plot\n", "t acc at 1 tokens: expected finite numbers"),
            ("t,acc,5,a,1,0.2,-1,plot\n", "an uncertainty of at least 0"),
            ("t,acc,5,a,1,0.2,0.01,plot\nt,acc,5,b,1,0.3,0.01,plot\n", "t acc at 1 tokens occurs twice"),
        ] {
            let error = parse(lines).expect_err("it is wrong");
            assert!(error.contains(expected), "{error}");
        }
    }
}
