//! Comparison of a run or a sweep with published results.

use std::path::{Path, PathBuf};

use fineline_diagnostics::{Classified, ErrorClass};
use fineline_dynamics::{
    Clusters, Estimate, PublishedBand, PublishedSeries, SeriesPosition, mean, parse_published,
};
use fineline_probe::ProbeRecord;
use fs_err as fs;
use serde::Serialize;

use crate::error::RunError;
use crate::records::jsonl::read_lines;
use crate::records::metrics::MetricsRecord;
use fineline_layout::RunDirectory;

/// The references in `docs/references`, which are part of the program.
const SHIPPED: [(&str, &str); 8] = [
    ("amber", include_str!("../../../../docs/references/amber.csv")),
    ("llama-7b", include_str!("../../../../docs/references/llama-7b.csv")),
    ("llama-13b", include_str!("../../../../docs/references/llama-13b.csv")),
    ("openllama-3b", include_str!("../../../../docs/references/openllama-3b.csv")),
    ("openllama-3b-v2", include_str!("../../../../docs/references/openllama-3b-v2.csv")),
    ("openllama-7b", include_str!("../../../../docs/references/openllama-7b.csv")),
    ("openllama-7b-v2", include_str!("../../../../docs/references/openllama-7b-v2.csv")),
    ("openllama-13b", include_str!("../../../../docs/references/openllama-13b.csv")),
];

/// Factor by which tokens may differ for a step's loss to be compared with a published one.
const LOSS_WINDOW: f64 = 1.02;

/// An error of the comparison with a reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishedError {
    /// The run can't be read.
    #[error(transparent)]
    Run(RunError),
    /// The reference doesn't exist.
    #[error(
        "no reference `{name}`{}: it is neither a file nor one of {}",
        nearest_reference(name),
        reference_names().collect::<Vec<_>>().join(", ")
    )]
    NoReference {
        /// Name of the reference.
        name: String,
    },
    /// A reference can't be read.
    #[error("reference {name}: {message}")]
    BadReference {
        /// Name or file of the reference.
        name: String,
        /// Description of the problem, with its line.
        message: String,
    },
}

impl Classified for PublishedError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Run(error) => error.class(),
            Self::NoReference { .. } | Self::BadReference { .. } => ErrorClass::Usage,
        }
    }
}

impl<E: Into<RunError>> From<E> for PublishedError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

fn nearest_reference(name: &str) -> String {
    let nearest = fineline_diagnostics::nearest(name, reference_names());
    nearest.map_or_else(String::new, |nearest| format!(" (did you mean `{nearest}`?)"))
}

/// A run compared with a reference.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Directory of the run.
    pub run: PathBuf,
    /// The reference.
    pub reference: String,
    /// Series that both have.
    pub series: Vec<ComparedSeries>,
    /// Series of the reference that can't be compared, or that the run doesn't have.
    pub not_compared: Vec<NotCompared>,
}

/// A metric of a run compared with a published one.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedSeries {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// Points, in the order of tokens.
    pub points: Vec<ComparedPoint>,
}

/// A measured value and a published one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ComparedPoint {
    /// Number of steps.
    pub step: u64,
    /// Number of tokens.
    pub tokens: u64,
    /// Value of the run.
    pub measured: Estimate,
    /// Published value.
    pub published: PublishedBand,
    /// Position of the run's value relative to the published one.
    pub place: Option<SeriesPosition>,
}

/// A published metric that isn't compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// Reason.
    pub reason: String,
}

/// Returns the names of the references that are part of the program.
pub fn reference_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Compares the run or sweep in `dir` with a reference, which is part of the program or a CSV file of the
/// same format.
///
/// # Errors
/// [`PublishedError::NoReference`] and [`PublishedError::BadReference`] for the reference. A directory with
/// neither a run nor a sweep, or logs that can't be read.
pub fn compare_with_published(dir: &Path, reference: &str) -> Result<Comparison, PublishedError> {
    let published = read_reference(reference)?;
    let directory = RunDirectory::new(dir);
    if !directory.is_run() && !directory.is_sweep() {
        return Err(RunError::NeitherRunNorSweep { dir: dir.to_owned() }.into());
    }
    let probes: Vec<ProbeRecord> = read_lines(&directory.probes())?;
    let metrics: Vec<MetricsRecord> = read_lines(&directory.metrics())?;
    let mut comparison = Comparison {
        run: dir.to_owned(),
        reference: reference.to_owned(),
        series: Vec::new(),
        not_compared: Vec::new(),
    };
    for series in &published {
        let compared = match series.task.as_str() {
            "train" => losses(series, &metrics),
            _ => scores(series, &probes),
        };
        let (task, metric) = (series.task.clone(), series.metric.clone());
        match compared {
            Ok(points) => comparison.series.push(ComparedSeries { task, metric, points }),
            Err(reason) => comparison.not_compared.push(NotCompared { task, metric, reason }),
        }
    }
    Ok(comparison)
}

fn read_reference(reference: &str) -> Result<Vec<PublishedSeries>, PublishedError> {
    let shipped = SHIPPED.iter().find(|(name, _)| *name == reference);
    let path = Path::new(reference);
    let text = match shipped {
        Some((_, text)) => (*text).to_owned(),
        None if path.is_file() => fs::read_to_string(path)?,
        None => return Err(PublishedError::NoReference { name: reference.to_owned() }),
    };
    parse_published(&text)
        .map_err(|message| PublishedError::BadReference { name: reference.to_owned(), message })
}

/// Compares the evaluation rounds of a run with a published metric, or returns why that isn't possible.
fn scores(series: &PublishedSeries, probes: &[ProbeRecord]) -> Result<Vec<ComparedPoint>, String> {
    let of_task: Vec<&ProbeRecord> = probes.iter().filter(|record| record.task == series.task).collect();
    let last = of_task.last().ok_or("the run has no such task")?;
    let alike = of_task.iter().filter(|record| record.shots == series.shots);
    let measured: Vec<(u64, u64, Estimate)> = alike
        .filter_map(|record| Some((record.step, record.tokens, *record.metrics.get(&series.metric)?)))
        .collect();
    if measured.is_empty() {
        let shots = |shots: Option<usize>| shots.map_or_else(|| "?".to_owned(), |shots| shots.to_string());
        if last.shots == series.shots {
            return Err("the run's task has no such metric".to_owned());
        }
        let (published, evaluated) = (shots(series.shots), shots(last.shots));
        return Err(format!("published with {published} examples, evaluated with {evaluated}"));
    }
    points(series, measured)
}

/// Compares the mean loss of the steps within two percent of the tokens of each published loss.
fn losses(series: &PublishedSeries, metrics: &[MetricsRecord]) -> Result<Vec<ComparedPoint>, String> {
    let around = |tokens: u64| {
        let near = |record: &&MetricsRecord| {
            let factor = record.tokens as f64 / tokens as f64;
            (1.0 / LOSS_WINDOW..=LOSS_WINDOW).contains(&factor)
        };
        let near: Vec<&MetricsRecord> = metrics.iter().filter(near).collect();
        let losses: Vec<f64> = near.iter().filter_map(|record| record.loss).map(f64::from).collect();
        let last = near.last()?;
        Some((last.step, tokens, mean(&losses, &Clusters::singletons(losses.len()))))
    };
    if metrics.is_empty() {
        return Err("there is no log of losses".to_owned());
    }
    points(series, series.points.iter().filter_map(|point| around(point.tokens)).collect())
}

fn points(
    series: &PublishedSeries,
    measured: Vec<(u64, u64, Estimate)>,
) -> Result<Vec<ComparedPoint>, String> {
    let compare = |(step, tokens, measured): (u64, u64, Estimate)| {
        let published = series.band(tokens)?;
        Some(ComparedPoint { step, tokens, measured, published, place: published.position(&measured) })
    };
    let points: Vec<ComparedPoint> = measured.into_iter().filter_map(compare).collect();
    if points.is_empty() {
        let ends =
            [series.points.first(), series.points.last()].map(|point| point.map_or(0, |point| point.tokens));
        return Err(format!("published from {} to {} tokens, where the run has nothing", ends[0], ends[1]));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_references_can_be_read() {
        for name in reference_names() {
            let series = read_reference(name).expect("it is well formed");
            assert!(series.len() > 3, "{name}");
            let accuracies = series.iter().filter(|series| series.task != "train");
            assert!(
                accuracies
                    .flat_map(|series| &series.points)
                    .all(|point| (0.0..1.0).contains(&point.band.value))
            );
        }
        let amber = read_reference("amber").expect("it is well formed");
        let arc = amber.iter().find(|series| series.task == "arc_challenge_25shot").expect("a series");
        // Chunk 100, after 101 chunks of 762 steps.
        assert_eq!(
            arc.band(101 * 762 * 2240 * 2048),
            Some(PublishedBand { value: 0.376, uncertainty: 0.005 })
        );
        let card = arc.points.last().expect("a point");
        assert_eq!(
            (card.checkpoint.as_str(), card.tokens, card.band.value),
            ("main", 1_258_448_486_400, 0.4257)
        );
    }
}
