//! Comparison of two runs: the first step at which their logs or parameters differ.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::ConfigDifference;
use crate::error::RunError;
use crate::records::digests::DigestRecord;
use crate::records::identity::read_run_config;
use crate::records::jsonl::read_lines;
use crate::records::metrics::MetricsRecord;
use fineline_layout::RunDirectory;

/// Result of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct RunDiff {
    /// Whether everything that was compared is equal.
    pub same: bool,
    /// Number of steps that both have in `metrics.jsonl`.
    pub metrics_compared: usize,
    /// Number of steps that both have in `digests.jsonl`.
    pub digests_compared: usize,
    /// The first step after which parameters differ.
    pub parameters: Option<ParameterDifference>,
    /// The first step whose line in `metrics.jsonl` differs, apart from timings.
    pub metrics: Option<MetricsDifference>,
    /// Configuration values that differ, apart from `[run]`.
    pub config: Vec<ConfigDifference>,
}

/// First difference of parameters.
#[derive(Clone, Debug, Serialize)]
pub struct ParameterDifference {
    /// The step.
    pub step: u64,
    /// The last earlier step with equal parameters. Null if there is none.
    pub last_equal: Option<u64>,
    /// Names of the tensors that differ, in the order of the model.
    pub tensors: Vec<String>,
    /// Number of tensors of the model.
    pub of: usize,
}

/// First difference of logged values.
#[derive(Clone, Debug, Serialize)]
pub struct MetricsDifference {
    /// The step.
    pub step: u64,
    /// Names of the fields that differ, with both values.
    pub fields: BTreeMap<String, [Value; 2]>,
}

/// Compares the logs of two runs at the steps that both have.
///
/// # Errors
/// [`RunError::NoRun`] for a directory without a run. [`RunError::NothingInCommon`] if there is no common
/// step. A log that can't be read.
pub fn diff(left: &RunDirectory, right: &RunDirectory) -> Result<RunDiff, RunError> {
    for run in [left, right] {
        if !run.is_run() {
            return Err(RunError::NoRun { dir: run.root().to_owned() });
        }
    }
    let metrics = in_both(left, right, RunDirectory::metrics, |record: &MetricsRecord| record.step)?;
    let digests = in_both(left, right, RunDirectory::digests, |record: &DigestRecord| record.step)?;
    if metrics.is_empty() && digests.is_empty() {
        return Err(RunError::NothingInCommon {
            left: left.root().to_owned(),
            right: right.root().to_owned(),
        });
    }
    let parameters = parameter_difference(&digests);
    let metrics_difference = metrics.iter().find_map(metrics_difference);
    let config = match (read_run_config(left)?, read_run_config(right)?) {
        (Some(left), Some(right)) => left.differences(&right),
        _ => Vec::new(),
    };
    Ok(RunDiff {
        same: parameters.is_none() && metrics_difference.is_none(),
        metrics_compared: metrics.len(),
        digests_compared: digests.len(),
        parameters,
        metrics: metrics_difference,
        config: config.into_iter().filter(|difference| !difference.key.starts_with("run.")).collect(),
    })
}

/// Returns pairs of the records of a log at common steps.
fn in_both<T: DeserializeOwned>(
    left: &RunDirectory,
    right: &RunDirectory,
    log: impl Fn(&RunDirectory) -> std::path::PathBuf,
    step: impl Fn(&T) -> u64,
) -> Result<Vec<(T, T)>, RunError> {
    let right: Vec<T> = read_lines(&log(right))?;
    let mut right: BTreeMap<u64, T> = right.into_iter().map(|record| (step(&record), record)).collect();
    let left: Vec<T> = read_lines(&log(left))?;
    Ok(left
        .into_iter()
        .filter_map(|record| Some((right.remove(&step(&record))?, record)))
        .map(|(r, l)| (l, r))
        .collect())
}

/// Compares the hashes of the tensors instead of the chains, because the chain of a branch starts where it
/// branched off.
fn parameter_difference(digests: &[(DigestRecord, DigestRecord)]) -> Option<ParameterDifference> {
    let at = digests.iter().position(|(left, right)| left.tensors != right.tensors)?;
    let (left, right) = &digests[at];
    let missing = right.tensors.keys().filter(|name| !left.tensors.contains_key(*name));
    let differs = |(name, hash): &(&String, &Value)| right.tensors.get(*name) != Some(hash);
    let tensors = left.tensors.iter().filter(differs).map(|(name, _)| name).chain(missing).cloned().collect();
    let last_equal = at.checked_sub(1).map(|before| digests[before].0.step);
    Some(ParameterDifference { step: left.step, last_equal, tensors, of: left.tensors.len() })
}

fn metrics_difference((left, right): &(MetricsRecord, MetricsRecord)) -> Option<MetricsDifference> {
    let fields = |record: &MetricsRecord| {
        // The chain differs at all later steps, and the tensors are compared separately.
        let record = MetricsRecord { digest: None, ..record.without_timing() };
        match serde_json::to_value(record) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        }
    };
    let (left_fields, mut right_fields) = (fields(left), fields(right));
    let fields: BTreeMap<String, [Value; 2]> = left_fields
        .into_iter()
        .filter_map(|(name, value)| {
            let other = right_fields.remove(&name).unwrap_or_default();
            (value != other).then_some((name, [value, other]))
        })
        .collect();
    (!fields.is_empty()).then_some(MetricsDifference { step: left.step, fields })
}
