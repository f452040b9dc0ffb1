//! Verification that a resumed run equals an unbroken one.

use std::path::Path;

use fineline_layout::{RunDirectory, step_name};
use fineline_ranks::SingleRank;
use fs_err as fs;
use serde::Serialize;
use serde_json::Value;

use crate::config::Resolved;
use crate::error::RunError;
use crate::lifecycle::{TrainOptions, train};
use crate::progress::RunProgress;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::read_lines;
use crate::records::metrics::MetricsRecord;

/// Numbers of steps, files and log lines that were compared and are equal.
#[derive(Clone, Debug, Serialize)]
pub struct ResumeProof {
    /// Number of steps of both runs.
    pub steps: u64,
    /// Step after which the second run was stopped and resumed.
    pub stopped_after: u64,
    /// Number of files of the last checkpoint, equal byte for byte.
    pub checkpoint_files: usize,
    /// Their size in bytes.
    pub checkpoint_bytes: u64,
    /// Number of lines of `metrics.jsonl`, equal except for timings.
    pub metrics_lines: usize,
    /// Number of lines of `probes.jsonl`, equal except for timings.
    pub probe_lines: usize,
    /// Number of item files, equal byte for byte.
    pub item_files: usize,
}

/// Runs the first `steps` steps of the configuration without a break, then once more with a stop after
/// `stop_after`, in a temporary directory, and compares the results.
///
/// # Errors
/// [`RunError::NotEqual`] with the first difference. Errors of the runs.
pub fn resume(
    resolved: &Resolved,
    steps: u64,
    stop_after: u64,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<ResumeProof, RunError> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| {
        let mut elsewhere = resolved.clone();
        elsewhere.config.run.dir = dir.path().join(name);
        elsewhere.config.storage.remote = None;
        elsewhere.config.log.prometheus = None;
        // With a budget, rounds depend on the clock.
        elsewhere.config.probes.iter_mut().for_each(|probes| probes.budget = None);
        for trigger in &mut elsewhere.config.triggers {
            // A verification must not call webhooks or commands.
            trigger.webhook = None;
            trigger.command.clear();
        }
        elsewhere
    };
    let (unbroken, resumed) = (at("unbroken"), at("resumed"));
    let until = |step| TrainOptions { stop_after: Some(step), ..TrainOptions::default() };
    train(&unbroken, &until(steps), &SingleRank, progress)?;
    train(&resumed, &until(stop_after), &SingleRank, progress)?;
    train(&resumed, &until(steps), &SingleRank, progress)?;
    let (unbroken, resumed) = [unbroken, resumed].map(|run| RunDirectory::new(run.config.run.dir)).into();
    require_resumption(&resumed, stop_after)?;
    compare(&unbroken, &resumed, steps, stop_after)
}

/// Checks that the second run was resumed, because two runs from the start would be equal too.
fn require_resumption(run: &RunDirectory, step: u64) -> Result<(), RunError> {
    let events: Vec<EventRecord> = read_lines(&run.events())?;
    let resumed = |record: &EventRecord| record.step == step && matches!(record.event, Event::Resumed { .. });
    if events.iter().any(resumed) {
        return Ok(());
    }
    Err(RunError::NotEqual(format!("it wasn't resumed from step {step}")))
}

fn compare(
    left: &RunDirectory,
    right: &RunDirectory,
    steps: u64,
    stopped_after: u64,
) -> Result<ResumeProof, RunError> {
    let last = step_name(steps);
    let (checkpoint_files, checkpoint_bytes) =
        compare_directories(&left.checkpoints().join(&last), &right.checkpoints().join(&last))?;
    let (item_files, _) = compare_directories(&left.items_dir(), &right.items_dir())?;
    if left.representations_dir().is_dir() {
        compare_directories(&left.representations_dir(), &right.representations_dir())?;
    }
    Ok(ResumeProof {
        steps,
        stopped_after,
        checkpoint_files,
        checkpoint_bytes,
        metrics_lines: compare_lines(&metrics(left)?, &metrics(right)?, "metrics.jsonl")?,
        probe_lines: compare_lines(&probes(left)?, &probes(right)?, "probes.jsonl")?,
        item_files,
    })
}

fn metrics(run: &RunDirectory) -> Result<Vec<MetricsRecord>, RunError> {
    let records: Vec<MetricsRecord> = read_lines(&run.metrics())?;
    Ok(records.iter().map(MetricsRecord::without_timing).collect())
}

fn probes(run: &RunDirectory) -> Result<Vec<Value>, RunError> {
    let mut records: Vec<Value> = read_lines(&run.probes())?;
    for record in records.iter_mut().filter_map(Value::as_object_mut) {
        record.remove("seconds");
    }
    Ok(records)
}

fn compare_lines<T: PartialEq>(left: &[T], right: &[T], name: &str) -> Result<usize, RunError> {
    if left.len() != right.len() {
        let message = format!("{name} has {} lines unbroken and {} resumed", left.len(), right.len());
        return Err(RunError::NotEqual(message));
    }
    match left.iter().zip(right).position(|(left, right)| left != right) {
        Some(line) => Err(RunError::NotEqual(format!("line {} of {name}", line + 1))),
        None => Ok(left.len()),
    }
}

/// Compares the files of two directories byte for byte. Returns their number and size.
fn compare_directories(left: &Path, right: &Path) -> Result<(usize, u64), RunError> {
    let (names, others) = (file_names(left)?, file_names(right)?);
    if names != others {
        return Err(RunError::NotEqual(format!(
            "{} holds {names:?} unbroken and {others:?} resumed",
            left.display()
        )));
    }
    let mut bytes = 0;
    for name in &names {
        let content = fs::read(left.join(name))?;
        if content != fs::read(right.join(name))? {
            return Err(RunError::NotEqual(name.clone()));
        }
        bytes += content.len() as u64;
    }
    Ok((names.len(), bytes))
}

fn file_names(dir: &Path) -> Result<Vec<String>, RunError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
