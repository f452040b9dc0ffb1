//! From a configuration to what a run reads: text, tokenizer, rows, probes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use fineline_data::{DataConfig, Dataset, Tokenizer};
use fineline_files::{create_folder, remove_remains};
use fineline_model::LlamaConfig;
use fineline_probe::{Catalog, ProbeConfig, Suite, SuiteOptions};
use fineline_tinyworld::{World, WorldConfig};
use fs_err as fs;
use serde_json::json;

use crate::config::{Resolved, RunConfig};
use crate::directory::write_atomically;
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
/// can't be asked.
pub fn prepare(resolved: &Resolved, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Prepared, RunError> {
    let config = &resolved.config;
    check_suites(resolved)?;
    let _lock = lock_cache(&config.data.cache)?;
    let data = with_generated_text(config, progress)?;
    progress(Progress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &data)?;
    check_vocabulary(resolved, &tokenizer)?;
    let dataset = open_rows(config, &data, &tokenizer, progress)?;
    check_tokens(resolved, &dataset)?;
    progress(Progress::Preparing("probes"));
    let setting = SuiteSetting { world: &config.tinyworld, tokenizer: &tokenizer, model: &config.model };
    let suites =
        config.probes.iter().map(|probes| load_suite(&setting, probes)).collect::<Result<Vec<_>, _>>()?;
    refuse_shared_tasks(resolved, &suites)?;
    Ok(Prepared { tokenizer, dataset, suites })
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
pub fn check(resolved: &Resolved) -> Result<(), RunError> {
    prepare(resolved, &mut |_| {}).map(drop)
}

fn open_rows(
    config: &RunConfig,
    data: &DataConfig,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Dataset, RunError> {
    progress(Progress::Preparing("training text"));
    let mut tokenizing = |at: &fineline_data::Progress<'_>| {
        let percent = 100 * at.bytes / at.total_bytes.max(1);
        progress(Progress::Preparing(&format!("training text, {} {percent} %", at.source)));
    };
    Ok(Dataset::open(data, tokenizer, config.run.seed, &mut tokenizing)?)
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
    let _lock = lock_cache(&config.data.cache)?;
    let data = with_generated_text(config, progress)?;
    progress(Progress::Preparing("tokenizer"));
    let tokenizer = Tokenizer::open(&config.tokenizer, &data)?;
    let dataset = open_rows(config, &data, &tokenizer, progress)?;
    Ok((tokenizer, dataset))
}

/// What a suite is made for.
pub(crate) struct SuiteSetting<'a> {
    pub(crate) world: &'a WorldConfig,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) model: &'a LlamaConfig,
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

/// Refuses the name of a suite that doesn't exist before anything takes time.
fn check_suites(resolved: &Resolved) -> Result<(), RunError> {
    let config = &resolved.config;
    for (place, probes) in config.probes.iter().enumerate() {
        if let Err(error) = catalog(&config.tinyworld, probes).check(&probes.suite) {
            return Err(resolved
                .invalid(&format!("probes[{place}].suite"), format!("can't be: {error}"))
                .into());
        }
    }
    Ok(())
}

/// The suite that a `[[probes]]` table asks for, in the loop or out of it.
pub(crate) fn load_suite(setting: &SuiteSetting<'_>, probes: &ProbeConfig) -> Result<Suite, RunError> {
    let catalog = catalog(setting.world, probes);
    let options = SuiteOptions {
        tokenizer: setting.tokenizer,
        max_len: setting.model.max_position_embeddings,
        items: probes.items,
        tasks: &probes.tasks,
    };
    Ok(Suite::load(&catalog, &probes.suite, options)?)
}

/// The data section with every `path = "tinyworld"` replaced by the generated corpus.
fn with_generated_text(
    config: &RunConfig,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataConfig, RunError> {
    let mut data = config.data.clone();
    for source in data.mix.iter_mut().filter(|source| source.path == TINYWORLD) {
        progress(Progress::Preparing("generated world"));
        let corpus = generate_corpus(config, &data.cache)?;
        source.path = corpus.to_string_lossy().into_owned();
        "text".clone_into(&mut source.field);
    }
    Ok(data)
}

/// Makes runs that start at once fill the cache one after another: the second finds what the first has made.
fn lock_cache(cache: &Path) -> Result<fs::File, RunError> {
    create_folder(cache)?;
    let path = cache.join(".lock");
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    let failed =
        |source: io::Error| io::Error::new(source.kind(), format!("can't lock {}: {source}", path.display()));
    file.file().lock().map_err(failed)?;
    remove_remains_of_cache(cache)?;
    Ok(file)
}

/// Removes what a killed run has left half written, beside the shards and in the folders of tokenizers.
fn remove_remains_of_cache(cache: &Path) -> io::Result<()> {
    remove_remains(cache)?;
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_remains(&entry.path())?;
        }
    }
    Ok(())
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
    let mut text = String::new();
    for index in 0..documents {
        text.push_str(&json!({ "text": world.document(index) }).to_string());
        text.push('\n');
    }
    write_atomically(&path, text.as_bytes())?;
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
    let id = dataset.max_token_id();
    if (id as usize) < rows {
        return Ok(());
    }
    let message = format!("({rows}) must be above the largest token id of the data ({id})");
    Err(resolved.invalid("model.vocab_size", message).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_cleared_of_what_a_killed_run_left() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        for name in ["web-0123.bin", "tokenizer-0123/tokenizer.json"] {
            let path = cache.join(name);
            fineline_files::create_folder_of(&path).unwrap();
            write_atomically(&path, b"whole").unwrap();
            // Nobody drops it: so does a kill.
            std::mem::forget(fineline_files::AtomicFile::create(&path).unwrap());
        }
        let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 2]);
        let _lock = lock_cache(&cache).unwrap();
        assert_eq!([files(&cache), files(&cache.join("tokenizer-0123"))], [3, 1], "the lock has come");
        assert!(cache.join("web-0123.bin").is_file());
    }
}
