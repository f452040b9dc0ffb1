//! From a configuration to what a run reads: text, tokenizer, rows, probes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use fineline_data::{Corpus, DataConfig, Dataset, Numbering, Tokenizer};
use fineline_diagnostics::choice_hint;
use fineline_files::AtomicFile;
use fineline_model::LlamaConfig;
use fineline_probe::{Catalog, Group, ProbeConfig, ProbeRecord, Suite, SuiteOptions, TaskSource};
use fineline_tinyworld::{World, WorldConfig};
use fineline_train::StopSignal;
use serde_json::json;

use crate::cache_lock::CacheLock;
use crate::chunks::check_steps;
use crate::config::{Resolved, RunConfig};
use crate::released::{FetchedWeights, check_init};
use crate::{Progress, RunError};

/// The path by which a mix asks for the generated world's text.
pub const TINYWORLD: &str = "tinyworld";

/// What a run reads, ready to be read.
#[derive(Debug)]
pub struct Prepared {
    /// The tokenizer, with the policy of the configuration.
    pub tokenizer: Tokenizer,
    /// The training mixture and the validation split.
    pub dataset: Dataset,
    /// The suites of `[[probes]]`, in their order.
    pub suites: Vec<Suite>,
}

/// Makes ready what the run reads. What takes long is kept in `data.cache`.
///
/// # Errors
/// All that can be known before the first step: missing files, text that can't be read, a vocabulary that doesn't fit, items that
/// can't be asked. [`RunError::Stopped`], if `stop` comes before the end.
pub fn prepare(
    resolved: &Resolved,
    stop: &StopSignal,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Prepared, RunError> {
    let config = &resolved.config;
    check_suites(resolved)?;
    check_tokenizer_path(resolved)?;
    let _lock = CacheLock::take(&config.data.cache, stop, progress)?;
    let corpus = find_corpus(config, progress)?;
    progress(Progress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &corpus)?;
    check_vocabulary(resolved, &tokenizer)?;
    heed(stop)?;
    let dataset = open_rows(config, &corpus, &tokenizer, progress)?;
    check_tokens(resolved, &dataset)?;
    check_steps(resolved, &dataset)?;
    heed(stop)?;
    progress(Progress::Preparing("probes"));
    let setting =
        SuiteSetting { world: &config.tinyworld, tokenizer: &tokenizer, model: &config.model, data: &[] };
    let suites = load_suites(&setting, &config.probes)?;
    refuse_shared_tasks(resolved, &suites)?;
    refuse_unknown_tasks(resolved, &dataset, &suites)?;
    heed(stop)?;
    Ok(Prepared { tokenizer, dataset, suites })
}

/// Refuses a tokenizer that isn't there, before anything else takes time.
fn check_tokenizer_path(resolved: &Resolved) -> Result<(), RunError> {
    match &resolved.config.tokenizer.path {
        Some(path) if !path.exists() => {
            let message = format!(
                "is `{}`, but nothing is there: expected a tokenizer.json, a tokenizer.model, or a folder that holds one",
                path.display()
            );
            Err(resolved.invalid("tokenizer.path", message).into())
        }
        _ => Ok(()),
    }
}

/// Ends what is being prepared, if that was asked for.
pub(crate) fn heed(stop: &StopSignal) -> Result<(), RunError> {
    match stop.requested() {
        Some(signal) => Err(RunError::Stopped { signal }),
        None => Ok(()),
    }
}

/// Refuses a trigger on a task that nothing asks: it would never hold.
fn refuse_unknown_tasks(resolved: &Resolved, dataset: &Dataset, suites: &[Suite]) -> Result<(), RunError> {
    let tasks = suites.iter().flat_map(Suite::tasks).map(|task| task.name.clone());
    let groups = suites.iter().flat_map(Suite::groups).map(|group| group.name.clone());
    let validation =
        dataset.validation().iter().map(|source| format!("{}{}", ProbeRecord::VALIDATION, source.name()));
    let known: Vec<String> = tasks.chain(groups).chain(validation).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (place, trigger) in resolved.config.triggers.iter().enumerate() {
        if !known.contains(&trigger.task.as_str()) {
            let hint = choice_hint(&trigger.task, &known);
            let message = format!("is `{}`, which no probe of this run asks{hint}", trigger.task);
            return Err(resolved.invalid(&format!("triggers[{place}].task"), message).into());
        }
    }
    Ok(())
}

/// Refuses a task that two suites have: the log knows a task by its name.
fn refuse_shared_tasks(resolved: &Resolved, suites: &[Suite]) -> Result<(), RunError> {
    let mut names = BTreeSet::new();
    for (place, suite) in suites.iter().enumerate() {
        if let Some(task) = suite.tasks().find(|task| !names.insert(&task.name)) {
            let message = format!("asks `{}`, which an earlier [[probes]] asks too", task.name);
            return Err(resolved.invalid(&format!("probes[{place}].tasks"), message).into());
        }
    }
    Ok(())
}

/// Checks everything that a run would need before its first step, without starting it.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    resolved: &Resolved,
    fetched: Option<&FetchedWeights>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), RunError> {
    let prepared = prepare(resolved, &StopSignal::default(), progress)?;
    match &resolved.config.init {
        Some(init) => check_init(resolved, init, &prepared.dataset, fetched),
        None => Ok(()),
    }
}

fn open_rows(
    config: &RunConfig,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Dataset, RunError> {
    progress(Progress::Preparing("training text"));
    let mut tokenizing = |at: &fineline_data::Progress<'_>| {
        let percent = 100 * at.bytes / at.total_bytes.max(1);
        progress(Progress::Preparing(&format!("training text, {} {percent} %", at.source)));
    };
    let numbering = Numbering { seed: config.run.seed, batch: config.train.global_batch as u64 };
    Ok(Dataset::open(corpus, tokenizer, numbering, &mut tokenizing)?)
}

/// The tokenizer and the rows alone.
///
/// # Errors
/// As of [`prepare`].
pub fn open_dataset(
    resolved: &Resolved,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Tokenizer, Dataset), RunError> {
    let config = &resolved.config;
    let _lock = CacheLock::take(&config.data.cache, &StopSignal::default(), progress)?;
    let corpus = find_corpus(config, progress)?;
    progress(Progress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &corpus)?;
    let dataset = open_rows(config, &corpus, &tokenizer, progress)?;
    Ok((tokenizer, dataset))
}

/// What a suite is made for.
pub(crate) struct SuiteSetting<'a> {
    pub(crate) world: &'a WorldConfig,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) model: &'a LlamaConfig,
    /// Folders with data, besides that of the `[[probes]]` table.
    pub(crate) data: &'a [PathBuf],
}

/// Folder of suite and task files, relative to the working directory.
const SUITES: &str = "configs/probes";

/// Where the suites of a `[[probes]]` table are found.
fn catalog(world: &WorldConfig, probes: &ProbeConfig) -> Catalog {
    Catalog {
        world: world.clone(),
        folders: vec![PathBuf::from(SUITES)],
        data: probes.data.iter().cloned().collect(),
    }
}

/// Where the data of a suite's tasks can be fetched from.
///
/// # Errors
/// A suite that there isn't, or whose files can't be read.
pub fn suite_sources(suite: &str) -> Result<Vec<TaskSource>, RunError> {
    Ok(catalog(&WorldConfig::default(), &ProbeConfig::all(suite)).sources(suite)?)
}

/// Refuses the name of a suite or task that doesn't exist before anything takes time.
fn check_suites(resolved: &Resolved) -> Result<(), RunError> {
    let config = &resolved.config;
    for (place, probes) in config.probes.iter().enumerate() {
        let catalog = catalog(&config.tinyworld, probes);
        if let Err(error) = catalog.check(&probes.suite) {
            return Err(resolved
                .invalid(&format!("probes[{place}].suite"), format!("can't be: {error}"))
                .into());
        }
        if let Some(message) = unknown_task(&catalog, probes)? {
            return Err(resolved.invalid(&format!("probes[{place}].tasks"), message).into());
        }
    }
    Ok(())
}

/// What is wrong with the first of the tasks that a `[[probes]]` table names and its suite hasn't.
fn unknown_task(catalog: &Catalog, probes: &ProbeConfig) -> Result<Option<String>, RunError> {
    if probes.tasks.is_empty() {
        return Ok(None);
    }
    let tasks = catalog.tasks(&probes.suite)?;
    let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let unknown = probes.tasks.iter().find(|name| !known.contains(&name.as_str()));
    Ok(unknown.map(|name| {
        let (suite, hint) = (&probes.suite, choice_hint(name, &known));
        format!("names no task of suite `{suite}`: `{name}`{hint}")
    }))
}

/// The suites that `[[probes]]` tables ask for, in the loop or out of it. A log knows a group by its name: of several with one name the first stays.
pub(crate) fn load_suites(
    setting: &SuiteSetting<'_>,
    tables: &[ProbeConfig],
) -> Result<Vec<Suite>, RunError> {
    let suites = tables.iter().map(|table| load_suite(setting, table)).collect::<Result<Vec<_>, _>>()?;
    let mut names: BTreeSet<String> =
        suites.iter().flat_map(Suite::tasks).map(|task| task.name.clone()).collect();
    let mut with_own_groups = |suite: Suite| {
        let (own, taken): (Vec<Group>, Vec<Group>) =
            suite.groups().iter().cloned().partition(|group| names.insert(group.name.clone()));
        for group in taken {
            tracing::warn!(
                "group `{}` of suite `{}` is left out: there is another of this name",
                group.name,
                suite.name()
            );
        }
        suite.with_groups(own)
    };
    Ok(suites.into_iter().map(&mut with_own_groups).collect())
}

fn load_suite(setting: &SuiteSetting<'_>, probes: &ProbeConfig) -> Result<Suite, RunError> {
    let mut catalog = catalog(setting.world, probes);
    catalog.data.extend_from_slice(setting.data);
    let options = SuiteOptions {
        tokenizer: setting.tokenizer,
        max_len: setting.model.max_position_embeddings,
        items: probes.items,
        tasks: &probes.tasks,
        code: probes.code(),
    };
    Ok(Suite::load(&catalog, &probes.suite, options)?)
}

/// The files of all sources, with every `path = "tinyworld"` replaced by the generated corpus.
fn find_corpus(config: &RunConfig, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Corpus, RunError> {
    let mut data: DataConfig = config.data.clone();
    for source in data.mix.iter_mut().filter(|source| source.path == TINYWORLD) {
        progress(Progress::Preparing("generated world"));
        let corpus = generate_corpus(config, &data.cache)?;
        source.path = corpus.to_string_lossy().into_owned();
        "text".clone_into(&mut source.field);
    }
    Ok(Corpus::find(&data)?)
}

/// Documents that a corpus is known by: enough that each kind of document is among them many times.
const SAMPLED_DOCUMENTS: u64 = 1000;

/// Writes the world's text into the cache, unless it is there. The name holds a fingerprint of the first documents, so that a
/// generator that writes otherwise makes another file.
fn generate_corpus(config: &RunConfig, cache: &Path) -> Result<PathBuf, RunError> {
    let world = World::new(&config.tinyworld);
    let documents = config.tinyworld.documents;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&config.tinyworld.seed.to_le_bytes()).update(&documents.to_le_bytes());
    for index in 0..documents.min(SAMPLED_DOCUMENTS) {
        hasher.update(world.document(index).as_bytes());
    }
    let path = cache.join(format!("tinyworld-{}.jsonl", &hasher.finalize().to_hex()[..16]));
    if path.exists() {
        return Ok(path);
    }
    let mut file = AtomicFile::create(&path)?;
    for index in 0..documents {
        writeln!(file, "{}", json!({ "text": world.document(index) }))?;
    }
    file.commit()?;
    Ok(path)
}

fn check_vocabulary(resolved: &Resolved, tokenizer: &Tokenizer) -> Result<(), RunError> {
    let (rows, ids) = (resolved.config.model.vocab_size, tokenizer.vocab_size());
    if ids <= rows {
        return Ok(());
    }
    let message = format!(
        "({rows}) must not be smaller than the vocabulary of {} ({ids} ids)",
        tokenizer.path().display()
    );
    Err(resolved.invalid("model.vocab_size", message).into())
}

/// Refuses shards that hold ids which the model has no embedding for.
fn check_tokens(resolved: &Resolved, dataset: &Dataset) -> Result<(), RunError> {
    let rows = resolved.config.model.vocab_size;
    let id = dataset.max_token_id()?;
    if (id as usize) < rows {
        return Ok(());
    }
    let message = format!("({rows}) must be above the largest token id of the data ({id})");
    Err(resolved.invalid("model.vocab_size", message).into())
}
