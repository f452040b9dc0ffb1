//! Checkpoints of a run: what they carry besides tensors, and how one is found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_data::Tokenizer;
use fineline_model::SpecialTokens;
use fineline_ranks::Ranks;
use fineline_train::{Cadence, CheckpointFolder, Checkpointer, Milestones, Trainer, kept_name};
use fs_err as fs;

use crate::RunError;
use crate::chunks::chunk_ends;
use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::events::EventRecord;
use crate::jsonl::read_lines;
use crate::prepare::Prepared;
use crate::triggers::kept_steps;

/// The checkpoint that `path` means: a model folder itself, or the newest checkpoint of a run's folder, of its `checkpoints` or by its
/// `latest`.
///
/// # Errors
/// [`RunError::NoCheckpoint`], with those that lie beside it.
pub fn find_checkpoint(path: &Path) -> Result<PathBuf, RunError> {
    if path.join("config.json").is_file() {
        return Ok(path.to_owned());
    }
    let latest = [path.join("checkpoints/latest"), path.join("latest"), path.to_owned()];
    if let Some(latest) = latest.iter().find(|path| path.is_file() && path.ends_with("latest")) {
        let named = latest.with_file_name(fs::read_to_string(latest)?.trim());
        if named.join("config.json").is_file() {
            return Ok(named);
        }
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = CheckpointFolder::new(folder).steps()?;
    Err(RunError::NoCheckpoint { path: path.to_owned(), beside })
}

/// The weights that `path` means: those of [`find_checkpoint`], or a file or folder that holds weights and no configuration. A
/// run's checkpoint is held to its manifest.
///
/// # Errors
/// [`RunError::NoCheckpoint`] if nothing is there; a checkpoint that is damaged.
pub fn find_weights(path: &Path) -> Result<PathBuf, RunError> {
    let found = locate_weights(path)?;
    hold_to_manifest(&found)?;
    Ok(found)
}

/// The same, but whether they are whole is not looked at: that takes as long as reading them.
pub(crate) fn locate_weights(path: &Path) -> Result<PathBuf, RunError> {
    match find_checkpoint(path) {
        Err(RunError::NoCheckpoint { .. }) if path.exists() => Ok(path.to_owned()),
        found => found,
    }
}

/// Holds weights to their manifest, if they have one: a run's checkpoint does.
pub(crate) fn hold_to_manifest(weights: &Path) -> Result<(), RunError> {
    if weights.join("manifest.json").is_file() {
        fineline_train::verify(weights)?;
    }
    Ok(())
}

/// Writes the checkpoints of a run that stands where `trainer` does.
pub(crate) fn checkpointer(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    trainer: &Trainer,
    ranks: &dyn Ranks,
) -> Result<Checkpointer, RunError> {
    let tokenizer = &prepared.tokenizer;
    let identity = fineline_train::RunIdentity {
        seed: config.run.seed,
        config_hash: config.hash(),
        data_fingerprint: prepared.dataset.fingerprint().to_owned(),
        special_tokens: SpecialTokens {
            bos: tokenizer.bos_id(),
            eos: tokenizer.eos_id(),
            pad: config.model.pad_token_id.map(|id| id as u32),
        },
        files: companion_files(config, tokenizer)?,
    };
    let folder = CheckpointFolder::new(directory.checkpoints());
    let cadence = Cadence {
        config: config.checkpoint.clone(),
        milestones: milestones(config, directory, prepared, trainer)?,
    };
    Ok(Checkpointer::open(folder, cadence, identity, trainer.progress().step, ranks)?)
}

/// The checkpoints that are kept for good because of what they are: ends of chunks, and what a trigger has kept.
pub(crate) fn milestones(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    trainer: &Trainer,
) -> Result<Milestones, RunError> {
    let mut milestones = Milestones::new();
    if config.checkpoint.every_chunk {
        milestones = chunk_ends(config, &prepared.dataset, trainer.detours());
    }
    let events: Vec<EventRecord> = read_lines(&directory.events())?;
    for step in kept_steps(&events).filter(|step| *step <= trainer.progress().step) {
        milestones.entry(step).or_insert_with(|| kept_name(step));
    }
    Ok(milestones)
}

/// Name of the configuration's copy in a checkpoint.
const CONFIG_COPY: &str = "fineline.toml";

/// The configuration of the run that a checkpoint is of; none in a folder that others made.
pub(crate) fn stored_config(checkpoint: &Path) -> Result<Option<RunConfig>, RunError> {
    let path = checkpoint.join(CONFIG_COPY);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| RunError::StoredConfig { path, source: Box::new(source) })
}

/// What a checkpoint carries besides tensors: the tokenizer, so that others can load it, and the configuration, so that `probe` asks
/// the questions of the run. The copy names no folder: equal runs leave equal checkpoints wherever they lie.
fn companion_files(config: &RunConfig, tokenizer: &Tokenizer) -> Result<BTreeMap<String, Vec<u8>>, RunError> {
    let mut copy = config.clone();
    copy.run.dir = PathBuf::from(&copy.run.name);
    copy.storage.mirror = None;
    let mut files = tokenizer.files()?;
    files.insert(CONFIG_COPY.to_owned(), copy.to_toml().into_bytes());
    Ok(files)
}
