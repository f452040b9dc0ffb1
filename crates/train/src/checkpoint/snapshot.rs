//! A snapshot of training, written to files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fineline_files::write_synced;
use fineline_model::{Llama, LlamaConfig, ParameterSpec};
use serde_json::{Map, Value, json};

use crate::checkpoint::format::{EXP_AVG, EXP_AVG_SQ, MODEL, OPTIMIZER, STATE, pretty};
use crate::checkpoint::identity::CheckpointIdentity;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::shard::{part_name, shard_name};
use crate::checkpoint::state::CheckpointState;
use crate::checkpoint::tensors::{self, FlatTensor};
use crate::optim::AdamState;
use crate::parameters::{ByName, parameter_values};

/// A moment of training, to be written while training goes on.
///
/// It holds what this rank writes, and no other tensor: they share memory with the live ones only until the next update.
pub(crate) struct CheckpointSnapshot {
    pub(crate) config: LlamaConfig,
    pub(crate) weights: Vec<FlatTensor>,
    pub(crate) moments: Vec<FlatTensor>,
    pub(crate) state: CheckpointState,
    pub(crate) identity: Arc<CheckpointIdentity>,
    /// What of it this rank writes; `None`: all.
    pub(crate) shard: Option<CheckpointShard>,
}

/// The part of a checkpoint that one of several ranks writes.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointShard {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Whether each rank has moments of its own; rank 0 writes everything otherwise.
    pub(crate) divided: bool,
}

impl CheckpointSnapshot {
    /// Bytes that writing it takes, but for a few kilobytes of headers.
    pub(crate) fn bytes_needed(&self) -> u64 {
        let tensors = self.weights.iter().chain(&self.moments);
        let values: usize = tensors.map(|tensor| tensor.values.shape().num_elements()).sum();
        let files: usize = self.identity.files.values().map(Vec::len).sum();
        (values * size_of::<f32>() + files) as u64
    }

    /// Writes this rank's files of the checkpoint into `folder`, and waits for the disk after each. Gives what a manifest says of them.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<Manifest> {
        let mut files = BTreeMap::new();
        if self.shard.as_ref().is_none_or(|shard| shard.rank == 0) {
            files = self.small_files()?;
            files.iter().try_for_each(|(name, bytes)| write_synced(&folder.join(name), bytes))?;
        }
        let mut names: Vec<String> = files.into_keys().collect();
        for (whole, tensors) in [(MODEL, &self.weights), (OPTIMIZER, &self.moments)] {
            let Some(name) = self.file_name(whole) else { continue };
            tensors::write(&folder.join(&name), tensors)?;
            names.push(name);
        }
        Manifest::of(folder, names)
    }

    /// What this rank calls its part of the file `whole`, if it has one.
    fn file_name(&self, whole: &str) -> Option<String> {
        match &self.shard {
            None => Some(whole.to_owned()),
            Some(CheckpointShard { divided: false, rank, .. }) => (*rank == 0).then(|| whole.to_owned()),
            Some(shard) => Some(shard_name(whole, shard.rank, shard.size)),
        }
    }

    /// All files but tensors, by name.
    fn small_files(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let special = self.identity.special_tokens;
        let generation = json!({
            "_from_model_config": true,
            "bos_token_id": special.bos,
            "eos_token_id": special.eos,
            "pad_token_id": special.pad,
        });
        let mut files = self.identity.files.clone();
        files.insert("config.json".to_owned(), pretty(&self.config.to_hf(special))?);
        files.insert("generation_config.json".to_owned(), pretty(&generation)?);
        files.insert(STATE.to_owned(), pretty(&self.state)?);
        if let Some(shard) = self.shard.as_ref().filter(|shard| shard.divided) {
            files.insert(format!("{MODEL}.index.json"), pretty(&self.index(shard))?);
        }
        Ok(files)
    }

    /// Which file each parameter is in, as `transformers` reads it.
    fn index(&self, shard: &CheckpointShard) -> Value {
        let specs = self.config.parameters();
        let files = shard_of_parameters(&specs, shard.size);
        let map: Map<String, Value> = specs
            .iter()
            .zip(files)
            .map(|(spec, rank)| (spec.name.clone(), shard_name(MODEL, rank, shard.size).into()))
            .collect();
        let bytes: usize = specs.iter().map(|spec| spec.len() * size_of::<f32>()).sum();
        json!({ "metadata": { "total_size": bytes }, "weight_map": map })
    }
}

impl CheckpointShard {
    /// Whether this rank writes nothing at all.
    fn is_empty(&self) -> bool {
        !self.divided && self.rank > 0
    }
}

/// The weights that a rank writes.
pub(crate) fn own_weights(model: &Llama, shard: Option<&CheckpointShard>) -> Vec<FlatTensor> {
    if shard.is_some_and(CheckpointShard::is_empty) {
        return Vec::new();
    }
    let specs = model.config().parameters();
    let divided = shard.filter(|shard| shard.divided);
    let owners = shard_of_parameters(&specs, divided.map_or(1, |shard| shard.size));
    let own = divided.map_or(0, |shard| shard.rank);
    let stored = specs.into_iter().zip(parameter_values(model)).zip(owners);
    stored
        .filter(|(_, owner)| *owner == own)
        .map(|((spec, values), _)| FlatTensor { name: spec.name, shape: spec.shape, values })
        .collect()
}

/// The moments that a rank writes: all that it has, in the order of parameters.
pub(crate) fn own_optimizer_state(
    config: &LlamaConfig,
    moments: &ByName<AdamState>,
    shard: Option<&CheckpointShard>,
) -> Vec<FlatTensor> {
    if shard.is_some_and(CheckpointShard::is_empty) {
        return Vec::new();
    }
    let specs = config.parameters();
    let kept = specs.iter().filter_map(|spec| Some((spec, moments.get(&spec.name)?)));
    kept.flat_map(|(spec, moments)| {
        [(EXP_AVG, &moments.exp_avg), (EXP_AVG_SQ, &moments.exp_avg_sq)].map(|(prefix, values)| {
            let len = values.shape().num_elements();
            let shape = if len == spec.len() { spec.shape.clone() } else { vec![len] };
            let name = part_name(&format!("{prefix}{}", spec.name), moments.start);
            FlatTensor { name, shape, values: values.clone() }
        })
    })
    .collect()
}

/// Which of `count` files each parameter goes into: in their order, about as many values in each.
fn shard_of_parameters(specs: &[ParameterSpec], count: usize) -> Vec<usize> {
    let total: usize = specs.iter().map(ParameterSpec::len).sum();
    let mut before = 0;
    let place = |spec: &ParameterSpec| {
        let middle = before + spec.len() / 2;
        before += spec.len();
        (middle * count / total.max(1)).min(count - 1)
    };
    specs.iter().map(place).collect()
}
