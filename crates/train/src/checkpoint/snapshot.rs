//! Snapshots of training, and their files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fineline_files::write_synced;
use fineline_layout::{CheckpointManifest, OPTIMIZER_FILE, STATE_FILE, WEIGHTS_FILE};
use fineline_model::{Llama, LlamaConfig, ParameterSpec};
use serde_json::{Map, Value, json};

use crate::checkpoint::format::{EXP_AVG, EXP_AVG_SQ, to_pretty_json};
use crate::checkpoint::identity::CheckpointIdentity;
use crate::checkpoint::shard::{shard_name, slice_name};
use crate::checkpoint::state::CheckpointState;
use crate::checkpoint::tensors::{FlatTensor, write_tensors};
use crate::optim::AdamState;
use crate::parameters::{ByName, parameter_values};

/// A snapshot of training, written to disk while training continues.
///
/// It holds only the tensors that this rank writes. They share memory with the live ones until the next
/// update.
pub(crate) struct CheckpointSnapshot {
    pub(crate) config: LlamaConfig,
    pub(crate) weights: Vec<FlatTensor>,
    pub(crate) optimizer_state: Vec<FlatTensor>,
    pub(crate) state: CheckpointState,
    pub(crate) identity: Arc<CheckpointIdentity>,
    /// The part that this rank writes. `None` if it writes everything.
    pub(crate) shard: Option<CheckpointShard>,
}

/// The part of a checkpoint that one of several ranks writes.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointShard {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Whether the optimizer state is sharded. If not, rank 0 writes everything.
    pub(crate) is_sharded: bool,
}

impl CheckpointSnapshot {
    /// Returns the size of the files to write in bytes, without a few kilobytes of headers.
    pub(crate) fn bytes_needed(&self) -> u64 {
        let tensors = self.weights.iter().chain(&self.optimizer_state);
        let values: usize = tensors.map(|tensor| tensor.values.shape().num_elements()).sum();
        let files: usize = self.identity.files.values().map(Vec::len).sum();
        (values * size_of::<f32>() + files) as u64
    }

    /// Writes this rank's files into `directory`, and syncs each to disk. Returns their manifest.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<CheckpointManifest> {
        let mut files = BTreeMap::new();
        if self.shard.as_ref().is_none_or(|shard| shard.rank == 0) {
            files = self.small_files()?;
            files.iter().try_for_each(|(name, bytes)| write_synced(&directory.join(name), bytes))?;
        }
        let mut names: Vec<String> = files.into_keys().collect();
        for (file, tensors) in [(WEIGHTS_FILE, &self.weights), (OPTIMIZER_FILE, &self.optimizer_state)] {
            let Some(name) = self.file_name(file) else { continue };
            write_tensors(&directory.join(&name), tensors)?;
            names.push(name);
        }
        CheckpointManifest::of_files(directory, names)
    }

    /// Returns the name of this rank's part of `file`, if it writes one.
    fn file_name(&self, file: &str) -> Option<String> {
        match &self.shard {
            None => Some(file.to_owned()),
            Some(CheckpointShard { is_sharded: false, rank, .. }) => (*rank == 0).then(|| file.to_owned()),
            Some(shard) => Some(shard_name(file, shard.rank, shard.size)),
        }
    }

    /// Returns the content of all files that hold no tensors, by name.
    fn small_files(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let special = self.identity.special_tokens;
        let generation = json!({
            "_from_model_config": true,
            "bos_token_id": special.bos,
            "eos_token_id": special.eos,
            "pad_token_id": special.pad,
        });
        let mut files = self.identity.files.clone();
        files.insert("config.json".to_owned(), to_pretty_json(&self.config.to_hf(special))?);
        files.insert("generation_config.json".to_owned(), to_pretty_json(&generation)?);
        files.insert(STATE_FILE.to_owned(), to_pretty_json(&self.state)?);
        if let Some(shard) = self.shard.as_ref().filter(|shard| shard.is_sharded) {
            files.insert(format!("{WEIGHTS_FILE}.index.json"), to_pretty_json(&self.index(shard))?);
        }
        Ok(files)
    }

    /// Returns the index of the shards, which maps parameters to files, as `transformers` reads it.
    fn index(&self, shard: &CheckpointShard) -> Value {
        let specs = self.config.parameters();
        let files = assign_to_shards(&specs, shard.size);
        let map: Map<String, Value> = specs
            .iter()
            .zip(files)
            .map(|(spec, rank)| (spec.name.clone(), shard_name(WEIGHTS_FILE, rank, shard.size).into()))
            .collect();
        let bytes: usize = specs.iter().map(|spec| spec.len() * size_of::<f32>()).sum();
        json!({ "metadata": { "total_size": bytes }, "weight_map": map })
    }
}

impl CheckpointShard {
    /// Returns whether this rank writes nothing.
    fn is_empty(&self) -> bool {
        !self.is_sharded && self.rank > 0
    }
}

/// Returns the weights that a rank writes.
pub(crate) fn own_weights(model: &Llama, shard: Option<&CheckpointShard>) -> Vec<FlatTensor> {
    if shard.is_some_and(CheckpointShard::is_empty) {
        return Vec::new();
    }
    let specs = model.config().parameters();
    let sharded = shard.filter(|shard| shard.is_sharded);
    let owners = assign_to_shards(&specs, sharded.map_or(1, |shard| shard.size));
    let own = sharded.map_or(0, |shard| shard.rank);
    let stored = specs.into_iter().zip(parameter_values(model)).zip(owners);
    stored
        .filter(|(_, owner)| *owner == own)
        .map(|((spec, values), _)| FlatTensor { name: spec.name, shape: spec.shape, values })
        .collect()
}

/// Returns the optimizer state that a rank writes, in the order of parameters: all that it has.
pub(crate) fn own_optimizer_state(
    config: &LlamaConfig,
    state: &ByName<AdamState>,
    shard: Option<&CheckpointShard>,
) -> Vec<FlatTensor> {
    if shard.is_some_and(CheckpointShard::is_empty) {
        return Vec::new();
    }
    let specs = config.parameters();
    let owned = specs.iter().filter_map(|spec| Some((spec, state.get(&spec.name)?)));
    owned
        .flat_map(|(spec, state)| {
            [(EXP_AVG, &state.exp_avg), (EXP_AVG_SQ, &state.exp_avg_sq)].map(|(prefix, values)| {
                let len = values.shape().num_elements();
                let shape = if len == spec.len() { spec.shape.clone() } else { vec![len] };
                let name = slice_name(&format!("{prefix}{}", spec.name), state.start);
                FlatTensor { name, shape, values: values.clone() }
            })
        })
        .collect()
}

/// Assigns each parameter to one of `count` files, in order, with about the same number of values per file.
fn assign_to_shards(specs: &[ParameterSpec], count: usize) -> Vec<usize> {
    let total: usize = specs.iter().map(ParameterSpec::len).sum();
    let mut before = 0;
    let assign = |spec: &ParameterSpec| {
        let middle = before + spec.len() / 2;
        before += spec.len();
        (middle * count / total.max(1)).min(count - 1)
    };
    specs.iter().map(assign).collect()
}
