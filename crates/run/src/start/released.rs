//! Released weights that a run starts from: their files, their position in training, and what is exact about
//! continuing from them.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fineline_data::Dataset;
use fineline_layout::{OPTIMIZER_FILE, STATE_FILE, chunk_name};
use fineline_model::{Inspection, Llama, inspect};
use fineline_train::{CheckpointState, RowSchedule, TrainError};

use super::fetched_weights::FetchedWeights;
use crate::checkpoints::find::{hold_to_manifest, locate_weights};
use crate::checkpoints::names::{NamedPosition, position_in_name};
use crate::config::{InitConfig, OptimizerStateFrom, Resolved, RunConfig};
use crate::error::RunError;
use crate::prepare::chunks::chunk_ends;
use crate::records::identity::InitRecord;

/// Prefix of the address of a model of the hub.
const HUB: &str = "hf://";

/// Weights on disk, and their position in training.
pub(crate) struct ReleasedWeights {
    path: PathBuf,
    pub(crate) record: InitRecord,
}

impl ReleasedWeights {
    /// Finds the weights of `[init]`, and compares their headers with the model, without loading them.
    ///
    /// # Errors
    /// Weights that can't be found, or don't fit the model.
    pub(crate) fn find(
        resolved: &Resolved,
        init: &InitConfig,
        dataset: &Dataset,
        fetched: Option<&FetchedWeights>,
    ) -> Result<Self, RunError> {
        let config = &resolved.config;
        let path = path(resolved, init, fetched)?;
        hold_to_manifest(&path)?;
        match fineline_train::check_same_model(&path, &config.model) {
            Err(TrainError::OtherModel { difference, .. }) => {
                let message = format!("these weights are of another model: {difference}");
                return Err(resolved.invalid("init.from", message).into());
            }
            result => result?,
        }
        let found = inspect(&path, Some(&config.model))?;
        refuse_other_parameters(resolved, &found)?;
        let (step, position_from) = position(resolved, init, dataset, &path)?;
        let record = InitRecord {
            from: init.from.clone(),
            commit: fetched.map(|fetched| fetched.commit.clone()),
            step,
            tokens: step * config.train.tokens_per_step(config.data.seq_len),
            position_from,
            rewarm_steps: init.rewarm_steps,
            exact: exact(config, init, &found),
            not_exact: not_exact(config, init, &found),
        };
        Ok(Self { path, record })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// Weights that can't be read.
    pub(crate) fn load(&self, config: &RunConfig, device: &Device) -> Result<Llama, RunError> {
        Ok(fineline_model::load_as(&config.model, &self.path, device)?)
    }
}

/// Returns the checkpoint that `[init]` continues with its whole state: one with optimizer state, unless
/// `init.optimizer_state = "reset"`.
pub(crate) fn continued(
    resolved: &Resolved,
    init: &InitConfig,
    fetched: Option<&FetchedWeights>,
) -> Result<Option<PathBuf>, RunError> {
    let path = path(resolved, init, fetched)?;
    let has_state = [STATE_FILE, OPTIMIZER_FILE].iter().all(|file| path.join(file).is_file());
    if !has_state || init.optimizer_state == OptimizerStateFrom::Reset {
        return Ok(None);
    }
    let position = [
        ("init.step", init.step.is_some()),
        ("init.tokens", init.tokens.is_some()),
        ("init.chunk", init.chunk.is_some()),
        ("init.rewarm_steps", init.rewarm_steps > 0),
    ];
    if let Some((key, _)) = position.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!(
            "must be absent: {} is a checkpoint, which has its own step and optimizer state; or set \
             init.optimizer_state to \"reset\"",
            path.display()
        );
        return Err(resolved.invalid(key, message).into());
    }
    Ok(Some(path))
}

/// Checks `[init]` without a run.
///
/// # Errors
/// The first problem.
pub(crate) fn check_init(
    resolved: &Resolved,
    init: &InitConfig,
    dataset: &Dataset,
    fetched: Option<&FetchedWeights>,
) -> Result<(), RunError> {
    match continued(resolved, init, fetched)? {
        Some(checkpoint) => {
            hold_to_manifest(&checkpoint)?;
            Ok(fineline_train::check_same_model(&checkpoint, &resolved.config.model)?)
        }
        None => ReleasedWeights::find(resolved, init, dataset, fetched).map(drop),
    }
}

fn path(
    resolved: &Resolved,
    init: &InitConfig,
    fetched: Option<&FetchedWeights>,
) -> Result<PathBuf, RunError> {
    if init.from.starts_with(HUB) {
        let not_here = || {
            let models = init.models_dir.display();
            let message = format!(
                "isn't in {models}; download it first, with `fineline weights fetch {} --out {models}`",
                init.from
            );
            resolved.invalid("init.from", message)
        };
        return Ok(fetched.ok_or_else(not_here)?.dir.clone());
    }
    let path = PathBuf::from(&init.from);
    if path.exists() {
        return locate_weights(&path);
    }
    Err(resolved.invalid("init.from", "no such file or directory").into())
}

fn refuse_other_parameters(resolved: &Resolved, found: &Inspection) -> Result<(), RunError> {
    let name = |names: &[String]| format!("`{}`{}", names[0], if names.len() > 1 { ", ..." } else { "" });
    let message = match (found.missing.len(), found.unexpected.len()) {
        (0, 0) => return Ok(()),
        (0, count) => format!(
            "these weights have {count} tensors that the model doesn't have: {}",
            name(&found.unexpected)
        ),
        (count, _) => format!("these weights lack {count} parameters of the model: {}", name(&found.missing)),
    };
    Err(resolved.invalid("init.from", message).into())
}

/// Returns the step of the weights, and the source of that position.
fn position(
    resolved: &Resolved,
    init: &InitConfig,
    dataset: &Dataset,
    path: &Path,
) -> Result<(u64, String), RunError> {
    let config = &resolved.config;
    let of_tokens = |tokens: u64| {
        let per_step = config.train.tokens_per_step(config.data.seq_len);
        (tokens + per_step / 2) / per_step
    };
    if let Some(step) = init.step {
        return Ok((step, "init.step".to_owned()));
    }
    if let Some(tokens) = init.tokens {
        return Ok((of_tokens(tokens.0), "init.tokens".to_owned()));
    }
    if let Some(chunk) = init.chunk {
        return Ok((end_of_chunk(resolved, dataset, chunk, "init.chunk")?, "init.chunk".to_owned()));
    }
    if path.join(STATE_FILE).is_file() {
        return Ok((CheckpointState::read(path)?.progress.step, format!("its {STATE_FILE}")));
    }
    let named = names(init, path).into_iter().find_map(|name| Some((position_in_name(&name)?, name)));
    let Some((position, name)) = named else {
        let message = "the name doesn't say how far these weights were trained; \
                       set init.step, init.tokens or init.chunk";
        return Err(resolved.invalid("init.from", message).into());
    };
    let step = match position {
        NamedPosition::Step(step) => step,
        NamedPosition::Tokens(tokens) => of_tokens(tokens),
        NamedPosition::Checkpoint(chunk) => end_of_chunk(resolved, dataset, chunk, "init.from")?,
    };
    Ok((step, format!("the name `{name}`")))
}

/// Returns the names that may state a position: the revision and the repository, or the file or directory and
/// its parent.
fn names(init: &InitConfig, path: &Path) -> Vec<String> {
    if let Some(address) = init.from.strip_prefix(HUB) {
        let (repository, revision) = address.split_once('@').unwrap_or((address, ""));
        let repository = repository.rsplit('/').next().unwrap_or_default();
        return [revision, repository].map(str::to_owned).to_vec();
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    absolute.ancestors().take(2).filter_map(name).collect()
}

/// Returns the last step of a chunk.
fn end_of_chunk(resolved: &Resolved, dataset: &Dataset, chunk: u64, key: &str) -> Result<u64, RunError> {
    let rows = RowSchedule::without_skips(resolved.config.train.global_batch_size);
    let ends = chunk_ends(dataset, &rows);
    let name = chunk_name(chunk);
    if let Some((step, _)) = ends.iter().find(|(_, known)| **known == name) {
        return Ok(*step);
    }
    let message = if ends.is_empty() {
        format!("is the end of chunk {chunk}, but the data have no chunks; set init.step or init.tokens")
    } else {
        format!("is the end of chunk {chunk}, which this run doesn't have")
    };
    Err(resolved.invalid(key, message).into())
}

fn exact(config: &RunConfig, init: &InitConfig, found: &Inspection) -> Vec<String> {
    let types: Vec<&str> = found.dtypes.keys().map(String::as_str).collect();
    let mut exact = vec![
        format!("weights, as they were saved ({}, {})", found.layout, types.join(", ")),
        match init.rewarm_steps {
            0 => "learning rate: the schedule continues at this step".to_owned(),
            steps => format!("learning rate, after {steps} steps: the schedule continues"),
        },
    ];
    if config.data.chunks.is_some() {
        exact.push("order of the chunks: the next one begins".to_owned());
    }
    exact
}

fn not_exact(config: &RunConfig, init: &InitConfig, found: &Inspection) -> Vec<String> {
    let mut not_exact = vec!["optimizer state, which starts at zero".to_owned()];
    if found.dtypes.keys().any(|dtype| dtype != "F32") {
        not_exact.push("weights beyond the precision in which they were saved".to_owned());
    }
    not_exact.push(if config.data.chunks.is_some() {
        "order of the rows within a chunk, unless the run that made them shuffled as this one does".to_owned()
    } else {
        "rows trained on from here: those that this configuration has at this step".to_owned()
    });
    if init.rewarm_steps > 0 {
        not_exact.push(format!(
            "learning rate of the next {} steps, over which it rises again",
            init.rewarm_steps
        ));
    }
    not_exact
}
