//! A sweep: one suite evaluated on a series of checkpoints, with a probe log as if they were of one run.
//!
//! The directory has the probe logs of a run: `probes.jsonl`, `items/step-*.parquet`, `events.jsonl`. It also
//! has `results/REVISION.json` for each checkpoint, and `sweep.json` with the checkpoints that are complete.
//! It is written last, after each checkpoint. Files of an interrupted sweep beyond it are dropped on a
//! resume.

mod axis;
mod error;
mod revisions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_diagnostics::with_causes;
use fineline_files::create_directory;
use fineline_probe::{
    EvaluationHistory, ItemRow, ProbeRecord, Provenance, TaskResult, read_items, write_items,
    write_similarities,
};
use fineline_train::StopSignal;
use fs_err as fs;
use serde::{Deserialize, Serialize};

pub use axis::CheckpointAxis;
pub use error::SweepError;

use fineline_files::write_atomically;
use revisions::SweepCheckpoint;

use crate::error::RunError;
use crate::lifecycle::RunOutcome;
use crate::progress::RunProgress;
use crate::records::events::Event;
use crate::records::jsonl::{JsonLines, read_lines};
use crate::records::lock::{RunLock, refuse_foreign_files};
use crate::sinks::logs::drop_rounds;
use crate::tools::offline_probe::{
    EvaluationTimer, OfflineProbe, ProbeResults, ProbedCheckpoint, ProbedStep, TokenizedSuites,
};
use fineline_layout::RunDirectory;

/// A sweep over a series of checkpoints.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The evaluation of each checkpoint. Its `checkpoint` is where they are: a directory of model
    /// directories, the directory of a run, or a pattern.
    pub probe: OfflineProbe,
    /// Revisions to evaluate: names and ranges (`ckpt_{000..356..10}`) separated by commas, or a file with
    /// one per line. Absent: all.
    pub revisions: Option<String>,
    /// Sources of their positions in training.
    pub axis: CheckpointAxis,
    /// Directory of the results.
    pub out: PathBuf,
    /// Treatment of checkpoints that can't be read.
    pub unreadable: UnreadablePolicy,
    /// Signal by which the caller requests a stop.
    pub stop: StopSignal,
}

/// Treatment of checkpoints that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnreadablePolicy {
    /// Stop with an error.
    #[default]
    Stop,
    /// Log it, and continue with the next one.
    Skip,
}

/// `sweep.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SweepRecord {
    model: PathBuf,
    suite: String,
    tasks: Vec<String>,
    limit: Option<usize>,
    /// Version of fineline.
    version: String,
    /// Everything except the weights that the values of each task depend on, as of the last checkpoint.
    provenance: BTreeMap<String, Provenance>,
    /// The checkpoints so far, in order.
    done: Vec<SweepEntry>,
}

/// A checkpoint that was evaluated, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SweepEntry {
    revision: String,
    step: u64,
    tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// A sweep in progress.
struct SweepState<'a> {
    sweep: &'a Sweep,
    directory: RunDirectory,
    record: SweepRecord,
    probes: JsonLines,
    events: JsonLines,
    history: EvaluationHistory,
    questions: Option<TokenizedSuites>,
}

impl Sweep {
    /// Evaluates the checkpoints that haven't been evaluated, in the order of their steps.
    ///
    /// # Errors
    /// Before the first one: [`SweepError`] for checkpoints, positions or a directory that don't match. Then:
    /// a checkpoint that can't be read, unless such are skipped, and errors of suites and files.
    pub fn run(&self, progress: &mut dyn FnMut(RunProgress<'_>)) -> Result<RunOutcome, SweepError> {
        let checkpoints = self.checkpoints()?;
        let device = self.probe.device.open()?;
        let directory = RunDirectory::new(&self.out);
        let _lock = RunLock::acquire(&directory)?;
        let mut state = SweepState::open(self, directory, &checkpoints)?;
        for checkpoint in &checkpoints[state.record.done.len()..] {
            if let Some(signal) = self.stop.requested() {
                let step = state.record.done.last().map(|done| done.step);
                return Ok(RunOutcome::Stopped { step, signal: Some(signal) });
            }
            let start = EvaluationTimer::now();
            let opened = ProbedCheckpoint::open(&checkpoint.dir)
                .and_then(|subject| subject.load(&device).map(|model| (subject, model)));
            match opened {
                Ok((subject, model)) => {
                    let questions = state.questions_for(&subject)?;
                    let step = checkpoint.step;
                    let mut at = ProbedStep { step, progress };
                    let ProbeResults { results, groups, json, similarities } =
                        self.probe.evaluate(&subject, &model, &questions, &mut at)?;
                    state.questions = Some(questions);
                    state.record_provenance(&results)?;
                    let items: Vec<ItemRow> =
                        results.iter().flat_map(|result| result.items.iter().cloned()).collect();
                    write_items(&state.directory.items(step), &items)?;
                    if !similarities.is_empty() {
                        create_directory(&state.directory.representations_dir())?;
                        write_similarities(&state.directory.representations(step), &similarities)?;
                    }
                    write_json(
                        &state.directory.sweep_results().join(format!("{}.json", checkpoint.revision)),
                        &start.finish(json),
                    )?;
                    let records = state.history.record_round(step, checkpoint.tokens, &results, &groups);
                    state.probes.append_all(&records)?;
                    state.finish(checkpoint, None)?;
                    progress(RunProgress::Evaluated(&records));
                }
                Err(error) if self.unreadable == UnreadablePolicy::Skip => {
                    let event = Event::CheckpointDamaged {
                        path: checkpoint.dir.clone(),
                        reason: with_causes(&error),
                    };
                    let event = event.at(checkpoint.step);
                    state.events.append(&event)?;
                    progress(RunProgress::Event(&event));
                    state.finish(checkpoint, Some(with_causes(&error)))?;
                }
                Err(error) => {
                    return Err(SweepError::Unreadable {
                        revision: checkpoint.revision.clone(),
                        message: with_causes(&error),
                    });
                }
            }
        }
        Ok(RunOutcome::Finished)
    }

    /// Returns the checkpoints, sorted by their steps.
    fn checkpoints(&self) -> Result<Vec<SweepCheckpoint>, SweepError> {
        let dirs = revisions::find(&self.probe.checkpoint)?;
        let dirs = match &self.revisions {
            Some(list) => revisions::select(list, &dirs)?,
            None => revisions::without_second_names(dirs),
        };
        let axis = self.axis.read()?;
        let mut checkpoints = Vec::new();
        for (revision, dir) in dirs {
            let (step, tokens) = axis.position(&revision, &dir)?;
            checkpoints.push(SweepCheckpoint { revision, dir, step, tokens });
        }
        checkpoints.sort_by_key(|checkpoint| (checkpoint.step, checkpoint.tokens));
        for pair in checkpoints.windows(2) {
            if pair[0].step == pair[1].step {
                let revisions = [pair[0].revision.clone(), pair[1].revision.clone()];
                return Err(SweepError::SameStep { revisions, step: pair[0].step });
            }
        }
        Ok(checkpoints)
    }

    /// Returns the record of a sweep before its first checkpoint.
    fn record(&self) -> SweepRecord {
        SweepRecord {
            model: self.probe.checkpoint.clone(),
            suite: self.probe.suite.clone(),
            tasks: self.probe.tasks.clone(),
            limit: self.probe.limit,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance: BTreeMap::new(),
            done: Vec::new(),
        }
    }
}

impl<'a> SweepState<'a> {
    /// Opens the directory to start, or to continue after the last complete checkpoint.
    fn open(
        sweep: &'a Sweep,
        directory: RunDirectory,
        checkpoints: &[SweepCheckpoint],
    ) -> Result<Self, SweepError> {
        let record = if directory.is_sweep() {
            let path = directory.sweep();
            let text = fs::read_to_string(&path)?;
            let record: SweepRecord =
                serde_json::from_str(&text).map_err(|source| RunError::Json { path, source })?;
            sweep.refuse_other(&record, checkpoints)?;
            record
        } else {
            if directory.is_run() {
                return Err(SweepError::IsRunDirectory { dir: directory.root().to_owned() });
            }
            refuse_foreign_files(&directory)?;
            sweep.record()
        };
        let last_step = record.done.last().map(|done| done.step);
        if last_step.is_none() {
            fs::write(directory.probes(), "")?;
            fs::write(directory.events(), "")?;
        }
        drop_rounds(&directory, |step| last_step.is_none_or(|last| step > last))?;
        create_directory(&directory.sweep_results())?;
        let step = last_step.unwrap_or(0);
        let probes = JsonLines::resume(&directory.probes(), step)?;
        let events = JsonLines::resume(&directory.events(), step)?;
        let records: Vec<ProbeRecord> = read_lines(&directory.probes())?;
        let items_at = |step| Ok::<_, RunError>(read_items(&directory.items(step))?);
        let history = EvaluationHistory::resume(&records, items_at)?;
        let state = Self { sweep, directory, record, probes, events, history, questions: None };
        state.write_record()?;
        Ok(state)
    }

    /// Returns the suites for a checkpoint. Those of the previous one are reused if the tokens are the same.
    fn questions_for(&mut self, subject: &ProbedCheckpoint) -> Result<TokenizedSuites, SweepError> {
        let key = self.sweep.probe.key(subject);
        match self.questions.take() {
            Some(questions) if questions.key == key => Ok(questions),
            _ => Ok(self.sweep.probe.questions(subject)?),
        }
    }

    /// Records the provenance of tasks, and refuses a task whose items or prompts differ from those of the
    /// previous checkpoint.
    fn record_provenance(&mut self, results: &[TaskResult]) -> Result<(), SweepError> {
        for TaskResult { task, provenance, .. } in results {
            let before = self.record.provenance.insert(task.clone(), provenance.clone());
            let is_same = |before: Provenance| {
                (before.data, before.template) == (provenance.data.clone(), provenance.template.clone())
            };
            if !before.is_none_or(is_same) {
                let dir = self.directory.root().to_owned();
                return Err(SweepError::OtherQuestions { dir, task: task.clone() });
            }
        }
        Ok(())
    }

    /// Records that a checkpoint is complete, after everything about it is on disk.
    fn finish(&mut self, checkpoint: &SweepCheckpoint, unreadable: Option<String>) -> Result<(), SweepError> {
        self.probes.sync()?;
        self.events.sync()?;
        let SweepCheckpoint { revision, step, tokens, .. } = checkpoint.clone();
        self.record.done.push(SweepEntry { revision, step, tokens, unreadable });
        self.write_record()
    }

    fn write_record(&self) -> Result<(), SweepError> {
        Ok(write_json(&self.directory.sweep(), &self.record)?)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|source| RunError::Json { path: path.to_owned(), source })?;
    json.push(b'\n');
    Ok(write_atomically(path, &json)?)
}

impl Sweep {
    /// Refuses a directory whose log has other checkpoints or settings, or a checkpoint after which an
    /// earlier one would have to be added.
    fn refuse_other(&self, stored: &SweepRecord, checkpoints: &[SweepCheckpoint]) -> Result<(), SweepError> {
        let dir = || self.out.clone();
        let own = self.record();
        let differs = [
            ("the checkpoints", own.model != stored.model),
            ("--suite", own.suite != stored.suite),
            ("--tasks", own.tasks != stored.tasks),
            ("--limit", own.limit != stored.limit),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(SweepError::Other { dir: dir(), what });
        }
        for (index, done) in stored.done.iter().enumerate() {
            let same = checkpoints.get(index).is_some_and(|checkpoint| {
                (&checkpoint.revision, checkpoint.step, checkpoint.tokens)
                    == (&done.revision, done.step, done.tokens)
            });
            if !same {
                return Err(SweepError::OtherOrder { dir: dir(), revision: done.revision.clone() });
            }
        }
        Ok(())
    }
}
