use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fineline_files::write_synced;
use fineline_model::{Llama, ParameterSpec, SpecialTokens};
use serde::Serialize;
use serde_json::json;

use crate::CheckpointState;
use crate::checkpoint::manifest::{MANIFEST, Manifest};
use crate::checkpoint::tensors::{self, Stored};
use crate::optim::Moments;
use crate::parameters::{ByName, parameter_values};

pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const STATE: &str = "state.json";
/// Prefixes of the moments in `optimizer.safetensors`, before the name of their parameter: `torch`'s names for them.
pub(crate) const EXP_AVG: &str = "exp_avg.";
pub(crate) const EXP_AVG_SQ: &str = "exp_avg_sq.";

/// What every checkpoint of a run carries besides the state of training.
#[derive(Clone, Debug, Default)]
pub struct RunIdentity {
    /// `run.seed`.
    pub seed: u64,
    /// Hash of the resolved configuration.
    pub config_hash: String,
    /// Fingerprint of everything that decides the rows.
    pub data_fingerprint: String,
    /// For `config.json` and `generation_config.json`.
    pub special_tokens: SpecialTokens,
    /// Files that are put into every checkpoint as they are, by name: the tokenizer, `tokenizer_config.json`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A moment of training, to be written while training goes on.
pub(crate) struct Snapshot {
    pub(crate) model: Llama,
    pub(crate) moments: ByName<Moments>,
    pub(crate) state: CheckpointState,
    pub(crate) identity: Arc<RunIdentity>,
}

impl Snapshot {
    /// Bytes that writing it takes, but for a few kilobytes of headers.
    pub(crate) fn bytes_needed(&self) -> u64 {
        let weights: usize = self.model.config().parameters().iter().map(ParameterSpec::len).sum();
        let moments: usize =
            self.moments.values().map(|moments| 2 * moments.exp_avg.shape().num_elements()).sum();
        let files: usize = self.identity.files.values().map(Vec::len).sum();
        ((weights + moments) * size_of::<f32>() + files) as u64
    }

    /// Writes every file of the checkpoint into `folder`, the manifest last, and waits for the disk after each. Gives
    /// the size of all.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<u64> {
        let config = self.model.config();
        let special = self.identity.special_tokens;
        let generation = json!({
            "_from_model_config": true,
            "bos_token_id": special.bos,
            "eos_token_id": special.eos,
            "pad_token_id": special.pad,
        });
        let mut files = self.identity.files.clone();
        files.insert("config.json".to_owned(), pretty(&config.to_hf(special))?);
        files.insert("generation_config.json".to_owned(), pretty(&generation)?);
        files.insert(STATE.to_owned(), pretty(&self.state)?);
        files.iter().try_for_each(|(name, bytes)| write_synced(&folder.join(name), bytes))?;
        tensors::write(&folder.join(MODEL), &self.weights())?;
        tensors::write(&folder.join(OPTIMIZER), &self.moments())?;

        let names = files.into_keys().chain([MODEL.to_owned(), OPTIMIZER.to_owned()]);
        let manifest = Manifest::of(folder, names)?;
        let bytes = pretty(&manifest)?;
        write_synced(&folder.join(MANIFEST), &bytes)?;
        Ok(manifest.bytes() + bytes.len() as u64)
    }

    fn weights(&self) -> Vec<Stored> {
        let values = parameter_values(&self.model);
        let specs = self.model.config().parameters();
        specs
            .into_iter()
            .zip(values)
            .map(|(spec, values)| Stored { name: spec.name, shape: spec.shape, values })
            .collect()
    }

    fn moments(&self) -> Vec<Stored> {
        let specs = self.model.config().parameters();
        let kept = specs.iter().filter_map(|spec| Some((spec, self.moments.get(&spec.name)?)));
        kept.flat_map(|(spec, moments)| {
            [(EXP_AVG, &moments.exp_avg), (EXP_AVG_SQ, &moments.exp_avg_sq)].map(|(prefix, values)| Stored {
                name: format!("{prefix}{}", spec.name),
                shape: spec.shape.clone(),
                values: values.clone(),
            })
        })
        .collect()
    }
}

fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
