//! Evaluation of a checkpoint outside of a run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_files::write_atomically;
use fineline_kernels::Precision;
use fineline_layout::MANIFEST_FILE;
use fineline_model::{Llama, LlamaConfig, load, read_config};
use fineline_probe::{
    EvaluationHistory, EvaluationRound, ItemRow, ProbeConfig, ProbeRecord, RepresentationHistory,
    ResultsHeader, SimilarityRow, Suite, TaskFailure, TaskGroup, TaskResult, results_json, write_items,
    write_similarities,
};
use fs_err as fs;
use serde_json::Value;

use crate::checkpoints::companions::stored_config;
use crate::checkpoints::find::{find_checkpoint, position};
use crate::config::{DeviceName, RunConfig};
use crate::device;
use crate::error::RunError;
use crate::prepare::suites::{SuiteContext, load_suites};
use crate::progress::RunProgress;
use crate::ranks::use_threads;
use crate::records::events::Event;
use crate::records::jsonl::to_lines;

/// An evaluation of a checkpoint.
#[derive(Clone, Debug)]
pub struct OfflineProbe {
    /// A model directory: a checkpoint of a run, or any Hugging Face LLaMA with a `tokenizer.json` or
    /// `tokenizer.model`.
    pub checkpoint: PathBuf,
    /// Name or file of the suite.
    pub suite: String,
    /// Names of the tasks. Empty for all.
    pub tasks: Vec<String>,
    /// Maximum number of items per task. Absent: as in the checkpoint's own run, or all.
    pub limit: Option<usize>,
    /// Device.
    pub device: DeviceName,
    /// Whether code tasks may run the programs that the model writes, if the checkpoint's own run doesn't
    /// allow it.
    pub allow_code_execution: bool,
    /// Directories of task data, in addition to those of the checkpoint's run.
    pub data: Vec<PathBuf>,
}

/// A checkpoint before its weights are loaded.
pub(crate) struct ProbedCheckpoint {
    pub(crate) dir: PathBuf,
    config: Option<RunConfig>,
    tokenizer: Tokenizer,
    model: LlamaConfig,
}

/// Suites, tokenized for a checkpoint and for others with the same tokenizer.
pub(crate) struct TokenizedSuites {
    pub(crate) key: String,
    suites: Vec<Suite>,
}

/// Step of a checkpoint, and the caller's progress display.
pub(crate) struct ProbedStep<'a> {
    pub(crate) step: u64,
    pub(crate) progress: &'a mut dyn FnMut(RunProgress<'_>),
}

/// Results of a checkpoint.
pub(crate) struct ProbeResults {
    pub(crate) results: Vec<TaskResult>,
    pub(crate) groups: Vec<TaskGroup>,
    /// lm-evaluation-harness's results object.
    pub(crate) json: Value,
    /// Similarity of its layers, if that was evaluated.
    pub(crate) similarities: Vec<SimilarityRow>,
}

/// Start of an evaluation.
pub(crate) struct EvaluationTimer {
    date: jiff::Timestamp,
    clock: Instant,
}

impl EvaluationTimer {
    pub(crate) fn now() -> Self {
        Self { date: jiff::Timestamp::now(), clock: Instant::now() }
    }

    /// Adds the date and the duration to results.
    pub(crate) fn finish(&self, mut results: Value) -> Value {
        results["date"] = Value::from(self.date.as_millisecond() as f64 / 1e3);
        let seconds = self.clock.elapsed().as_secs_f64();
        results["total_evaluation_time_seconds"] = Value::from(seconds.to_string());
        results
    }
}

impl ProbedCheckpoint {
    /// Verifies a checkpoint of a run, and reads everything except its weights.
    ///
    /// # Errors
    /// A checkpoint that is damaged or can't be read.
    pub(crate) fn open(dir: &Path) -> Result<Self, RunError> {
        if dir.join(MANIFEST_FILE).is_file() {
            fineline_train::verify_checkpoint(dir)?;
        }
        let config = stored_config(dir)?;
        if let Some(config) = &config {
            use_threads(config)?;
        }
        let tokenizer = open_tokenizer(dir, config.as_ref())?;
        let model = read_config(dir)?;
        refuse_larger_vocabulary(&tokenizer, &model, dir)?;
        Ok(Self { dir: dir.to_owned(), config, tokenizer, model })
    }

    /// Loads the model with the precision it was trained in, or float32 if the device lacks it.
    ///
    /// # Errors
    /// Weights that can't be read.
    pub(crate) fn load(&self, device: &Device) -> Result<Llama, RunError> {
        let trained = self.config.as_ref().map_or(Precision::F32, |config| config.run.precision);
        let precision = if device::precisions(device).contains(&trained) { trained } else { Precision::F32 };
        Ok(load(&self.dir, device)?.with_precision(precision))
    }
}

/// Results of an evaluation.
#[derive(Clone, Debug)]
pub struct OfflineResults {
    /// One record per task, as in `probes.jsonl`.
    pub records: Vec<ProbeRecord>,
    /// lm-evaluation-harness's results object.
    pub results: Value,
    items: Vec<ItemRow>,
    similarities: Vec<SimilarityRow>,
}

impl OfflineProbe {
    /// Loads the checkpoint and evaluates it. A checkpoint of a run is evaluated as in its run, with the same
    /// world and special tokens, so that the values are bit-identical.
    ///
    /// # Errors
    /// A checkpoint or suite that can't be read.
    pub fn run(&self, progress: &mut dyn FnMut(RunProgress<'_>)) -> Result<OfflineResults, RunError> {
        let start = EvaluationTimer::now();
        let device = self.device.open()?;
        let subject = ProbedCheckpoint::open(&find_checkpoint(&self.checkpoint)?)?;
        let questions = self.questions(&subject)?;
        let (step, tokens) = position(&subject.dir)?.unwrap_or_default();
        let model = subject.load(&device)?;
        let answers = self.evaluate(&subject, &model, &questions, &mut ProbedStep { step, progress })?;
        let ProbeResults { results, groups, json, similarities } = answers;
        Ok(OfflineResults {
            results: start.finish(json),
            records: records(&results, &groups, step, tokens),
            items: results.into_iter().flat_map(|result| result.items).collect(),
            similarities,
        })
    }

    /// Tokenizes the suites for a checkpoint.
    ///
    /// # Errors
    /// A suite that can't be read.
    pub(crate) fn questions(&self, subject: &ProbedCheckpoint) -> Result<TokenizedSuites, RunError> {
        let tables = self.tables(subject.config.as_ref());
        let world = subject.config.as_ref().map(|config| config.tinyworld.clone()).unwrap_or_default();
        let ProbedCheckpoint { tokenizer, model, .. } = subject;
        let context = SuiteContext { world: &world, tokenizer, model, data: &self.data };
        Ok(TokenizedSuites { key: self.key(subject), suites: load_suites(&context, &tables)? })
    }

    /// Returns a key of everything that determines the tokens. Checkpoints with the same key can share their
    /// suites.
    pub(crate) fn key(&self, subject: &ProbedCheckpoint) -> String {
        let ProbedCheckpoint { tokenizer, model, config, .. } = subject;
        format!(
            "{} {:?} {} {:?} {:?}",
            tokenizer.fingerprint(),
            tokenizer.boundary_tokens(),
            model.max_position_embeddings,
            self.tables(config.as_ref()),
            config.as_ref().map(|config| &config.tinyworld)
        )
    }

    /// Evaluates the model on the suites.
    ///
    /// # Errors
    /// A suite that can't be evaluated.
    pub(crate) fn evaluate(
        &self,
        subject: &ProbedCheckpoint,
        model: &Llama,
        questions: &TokenizedSuites,
        at: &mut ProbedStep<'_>,
    ) -> Result<ProbeResults, RunError> {
        let (mut results, mut groups) = (Vec::new(), Vec::new());
        for suite in &questions.suites {
            (at.progress)(RunProgress::Evaluating { suite: suite.name(), step: at.step });
            let found = suite.run(model, &EvaluationRound::WHOLE)?;
            for TaskFailure { task, message } in found.failures {
                let event = Event::EvaluationFailed { task: Some(task), message };
                (at.progress)(RunProgress::Event(&event.at(at.step)));
            }
            results.extend(found.results);
            groups.extend_from_slice(suite.groups());
        }
        let mut representations = RepresentationHistory::default();
        let similarities =
            results.iter_mut().flat_map(|result| representations.compare(at.step, result)).collect();
        let header = ResultsHeader {
            model: subject.dir.display().to_string(),
            device: self.device.to_string(),
            limit: self.limit,
            ..ResultsHeader::default()
        };
        Ok(ProbeResults { json: results_json(&results, &groups, &header), results, groups, similarities })
    }

    /// Returns the `[[probes]]` tables of the checkpoint's run for this suite, or a default one.
    fn tables(&self, config: Option<&RunConfig>) -> Vec<ProbeConfig> {
        let tables = config.map(|config| config.probes.as_slice()).unwrap_or_default();
        let mut tables: Vec<ProbeConfig> =
            tables.iter().filter(|table| table.suite == self.suite).cloned().collect();
        if tables.is_empty() {
            tables.push(ProbeConfig::all(&self.suite));
        }
        if !self.tasks.is_empty() {
            tables = with_tasks(tables, &self.tasks);
        }
        for table in &mut tables {
            table.limit = self.limit.or(table.limit);
            table.allow_code_execution |= self.allow_code_execution;
        }
        tables
    }
}

impl OfflineResults {
    /// Writes `results.json`, `probes.jsonl` and `items.parquet` into `dir`, and `representations.parquet`
    /// if representations were evaluated.
    ///
    /// # Errors
    /// An I/O error, with the path.
    pub fn write(&self, dir: &Path) -> Result<(), RunError> {
        fs::create_dir_all(dir)?;
        let json = |path: &Path, value: &Value| {
            serde_json::to_vec_pretty(value)
                .map_err(|source| RunError::Json { path: path.to_owned(), source })
        };
        let path = dir.join("results.json");
        write_atomically(&path, &json(&path, &self.results)?)?;
        let path = dir.join("probes.jsonl");
        write_atomically(&path, &to_lines(&self.records, &path)?)?;
        if !self.similarities.is_empty() {
            write_similarities(&dir.join("representations.parquet"), &self.similarities)?;
        }
        Ok(write_items(&dir.join("items.parquet"), &self.items)?)
    }
}

/// Restricts tables to these tasks. Tasks that are in no table are added to the first one.
fn with_tasks(mut tables: Vec<ProbeConfig>, wanted: &[String]) -> Vec<ProbeConfig> {
    let mut tasks_of = vec![Vec::new(); tables.len()];
    for task in wanted {
        let asks = |table: &ProbeConfig| table.tasks.is_empty() || table.tasks.contains(task);
        tasks_of[tables.iter().position(asks).unwrap_or(0)].push(task.clone());
    }
    for (table, tasks) in tables.iter_mut().zip(tasks_of) {
        table.tasks = tasks;
    }
    tables.retain(|table| !table.tasks.is_empty());
    tables
}

/// Refuses a tokenizer with ids that the model's embedding doesn't have.
fn refuse_larger_vocabulary(
    tokenizer: &Tokenizer,
    model: &LlamaConfig,
    checkpoint: &Path,
) -> Result<(), RunError> {
    let (ids, rows) = (tokenizer.vocab_size(), model.vocab_size);
    if ids <= rows {
        return Ok(());
    }
    Err(RunError::LargerVocabulary { path: checkpoint.to_owned(), ids, rows })
}

fn records(results: &[TaskResult], groups: &[TaskGroup], step: u64, tokens: u64) -> Vec<ProbeRecord> {
    // A phase depends on earlier rounds, and there are none.
    let without_phase = |record| ProbeRecord { phase: None, ..record };
    EvaluationHistory::new()
        .record_round(step, tokens, results, groups)
        .into_iter()
        .map(without_phase)
        .collect()
}

/// Opens the tokenizer of a checkpoint, with the special tokens of its run.
///
/// # Errors
/// A directory without a tokenizer, or with one that can't be read.
pub fn open_checkpoint_tokenizer(checkpoint: &Path) -> Result<Tokenizer, RunError> {
    open_tokenizer(checkpoint, stored_config(checkpoint)?.as_ref())
}

fn open_tokenizer(checkpoint: &Path, config: Option<&RunConfig>) -> Result<Tokenizer, RunError> {
    let tokenizer = Tokenizer::from_file(checkpoint)?;
    Ok(match config {
        Some(config) => tokenizer.with_policy(&config.tokenizer)?,
        None => tokenizer,
    })
}
