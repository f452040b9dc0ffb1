//! Prepares the inputs of a run.

use fineline_data::{Corpus, Dataset, DatasetOptions, Tokenizer};
use fineline_diagnostics::choice_hint;
use fineline_probe::{ProbeRecord, Suite};
use fineline_train::StopSignal;

use super::cache_lock::CacheLock;
use super::chunks::check_steps;
use super::corpus::find_corpus;
use super::suites::{SuiteContext, check_suites, load_suites, refuse_shared_tasks};
use crate::config::{Resolved, RunConfig};
use crate::error::RunError;
use crate::progress::RunProgress;
use crate::stop::check_stop;

/// The inputs of a run.
#[derive(Debug)]
pub struct Prepared {
    /// The tokenizer, with the configured special tokens.
    pub tokenizer: Tokenizer,
    /// The training mixture and the validation split.
    pub dataset: Dataset,
    /// The suites of `[[probes]]`, in their order.
    pub suites: Vec<Suite>,
}

/// Prepares the inputs of a run. Results that take long are kept in `data.cache_dir`.
///
/// # Errors
/// Problems that are known before the first step: missing files, unreadable text, a vocabulary that doesn't
/// fit, invalid items. [`RunError::Stopped`] if a stop is requested meanwhile.
pub fn prepare(
    resolved: &Resolved,
    stop: &StopSignal,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<Prepared, RunError> {
    let config = &resolved.config;
    check_suites(resolved)?;
    check_tokenizer_path(resolved)?;
    let _lock = CacheLock::take(&config.data.cache_dir, stop, progress)?;
    let corpus = find_corpus(config, progress)?;
    progress(RunProgress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &corpus)?;
    check_vocabulary(resolved, &tokenizer)?;
    check_stop(stop)?;
    let dataset = open_rows(config, &corpus, &tokenizer, progress)?;
    check_tokens(resolved, &dataset)?;
    check_steps(resolved, &dataset)?;
    check_stop(stop)?;
    progress(RunProgress::Preparing("probes"));
    let context =
        SuiteContext { world: &config.tinyworld, tokenizer: &tokenizer, model: &config.model, data: &[] };
    let suites = load_suites(&context, &config.probes)?;
    refuse_shared_tasks(resolved, &suites)?;
    refuse_unknown_tasks(resolved, &dataset, &suites)?;
    check_stop(stop)?;
    Ok(Prepared { tokenizer, dataset, suites })
}

/// Refuses a missing tokenizer before anything takes time.
fn check_tokenizer_path(resolved: &Resolved) -> Result<(), RunError> {
    match &resolved.config.tokenizer.path {
        Some(path) if !path.exists() => {
            let message = "no such file or directory; expected a tokenizer.json, a tokenizer.model, \
                           or a directory that contains one";
            Err(resolved.invalid("tokenizer.path", message).into())
        }
        _ => Ok(()),
    }
}

/// Refuses a trigger on a task that isn't evaluated, because its condition would never hold.
fn refuse_unknown_tasks(resolved: &Resolved, dataset: &Dataset, suites: &[Suite]) -> Result<(), RunError> {
    let tasks = suites.iter().flat_map(Suite::tasks).map(|task| task.name.clone());
    let groups = suites.iter().flat_map(Suite::groups).map(|group| group.name.clone());
    let validation =
        dataset.validation().iter().map(|source| format!("{}{}", ProbeRecord::VALIDATION, source.name()));
    let known: Vec<String> = tasks.chain(groups).chain(validation).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (index, trigger) in resolved.config.triggers.iter().enumerate() {
        if !known.contains(&trigger.task.as_str()) {
            let hint = choice_hint(&trigger.task, &known);
            let message = format!("no probe of this run evaluates this task{hint}");
            return Err(resolved.invalid(&format!("triggers[{index}].task"), message).into());
        }
    }
    Ok(())
}

fn open_rows(
    config: &RunConfig,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<Dataset, RunError> {
    progress(RunProgress::Preparing("training text"));
    let mut tokenizing = |at: &fineline_data::PreparationProgress<'_>| {
        let percent = 100 * at.bytes / at.total_bytes.max(1);
        progress(RunProgress::Preparing(&format!("training text, {} {percent} %", at.source)));
    };
    let options =
        DatasetOptions { seed: config.run.seed, global_batch_size: config.train.global_batch_size as u64 };
    Ok(Dataset::open(corpus, tokenizer, options, &mut tokenizing)?)
}

/// Opens the tokenizer and the rows only.
///
/// # Errors
/// As of [`prepare`].
pub fn open_dataset(
    resolved: &Resolved,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<(Tokenizer, Dataset), RunError> {
    let config = &resolved.config;
    let _lock = CacheLock::take(&config.data.cache_dir, &StopSignal::default(), progress)?;
    let corpus = find_corpus(config, progress)?;
    progress(RunProgress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &corpus)?;
    let dataset = open_rows(config, &corpus, &tokenizer, progress)?;
    Ok((tokenizer, dataset))
}

fn check_vocabulary(resolved: &Resolved, tokenizer: &Tokenizer) -> Result<(), RunError> {
    let (rows, ids) = (resolved.config.model.vocab_size, tokenizer.vocab_size());
    if ids <= rows {
        return Ok(());
    }
    let message = format!("must be at least {ids}, the number of ids of {}", tokenizer.path().display());
    Err(resolved.invalid("model.vocab_size", message).into())
}

/// Refuses shards with ids that the model's embedding doesn't have.
fn check_tokens(resolved: &Resolved, dataset: &Dataset) -> Result<(), RunError> {
    let rows = resolved.config.model.vocab_size;
    let id = dataset.max_token_id()?;
    if (id as usize) < rows {
        return Ok(());
    }
    let message = format!("must be above the largest token id of the data, {id}");
    Err(resolved.invalid("model.vocab_size", message).into())
}
