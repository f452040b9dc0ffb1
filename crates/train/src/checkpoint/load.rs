use std::io;
use std::path::Path;

use burn::tensor::Device;
use fineline_model::{Llama, LlamaConfig, SpecialTokens, read_config};

use crate::checkpoint::snapshot::{EXP_AVG, EXP_AVG_SQ, OPTIMIZER, STATE};
use crate::checkpoint::tensors::TensorFile;
use crate::optim::Moments;
use crate::parameters::ByName;
use crate::{CheckpointState, TrainError};

/// Keys of `config.json` that have no part in what the model computes.
const FREE_KEYS: [&str; 2] = ["initializer_range", "max_position_embeddings"];

/// A checkpoint in memory: all that [`Trainer::resume`](crate::Trainer::resume) needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The weights.
    pub model: Llama,
    /// All that is not a tensor.
    pub state: CheckpointState,
    pub(crate) moments: ByName<Moments>,
}

impl Checkpoint {
    /// Loads the checkpoint in `folder` for a run whose model is `expected`. The caller has [verified](crate::verify) it,
    /// or found it by [`newest_whole`](crate::CheckpointFolder::newest_whole), which does.
    ///
    /// # Errors
    /// [`TrainError::OtherModel`] with the first key or tensor that differs, if it is of another model.
    pub fn load(folder: &Path, expected: &LlamaConfig, device: &Device) -> Result<Self, TrainError> {
        let state = CheckpointState::read(folder)?;
        refuse_other_model(folder, expected)?;
        let model = fineline_model::load(folder, device)?;
        let moments = read_moments(folder, &state, expected, device)?;
        Ok(Self { model, state, moments })
    }
}

impl CheckpointState {
    /// Reads `state.json` of the checkpoint in `folder`, without its tensors.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let bytes = fs_err::read(folder.join(STATE))?;
        serde_json::from_slice(&bytes).map_err(|error| TrainError::Damaged {
            path: folder.to_owned(),
            reason: format!("{STATE}: {error}"),
        })
    }
}

/// Refuses weights whose `config.json` describes another model than `expected`. Those without one are taken for what they are said to be.
///
/// # Errors
/// [`TrainError::OtherModel`] with the first key that differs.
pub fn refuse_other_model(weights: &Path, expected: &LlamaConfig) -> Result<(), TrainError> {
    if !weights.join("config.json").is_file() {
        return Ok(());
    }
    match first_difference(&read_config(weights)?, expected) {
        Some(difference) => Err(TrainError::OtherModel { path: weights.to_owned(), difference }),
        None => Ok(()),
    }
}

/// The first key of `config.json` in which two models differ, with both values.
fn first_difference(found: &LlamaConfig, expected: &LlamaConfig) -> Option<String> {
    let [found, expected] = [found, expected].map(|config| config.to_hf(SpecialTokens::default()));
    let mut keys = expected.as_object()?.iter().filter(|(key, _)| !FREE_KEYS.contains(&key.as_str()));
    keys.find(|(key, value)| found[*key] != **value)
        .map(|(key, value)| format!("{key} is {} there and {value} in this run", found[key]))
}

fn read_moments(
    folder: &Path,
    state: &CheckpointState,
    config: &LlamaConfig,
    device: &Device,
) -> Result<ByName<Moments>, TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: folder.to_owned(), reason };
    let mut file = TensorFile::open(&folder.join(OPTIMIZER)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            damaged(error.to_string())
        }
        _ => error.into(),
    })?;
    if file.len() == 0 && state.updates == 0 {
        return Ok(ByName::new());
    }
    let mut read = |prefix: &str, name: &str, shape: &[usize]| {
        let name = format!("{prefix}{name}");
        file.read(&name, shape, device)?
            .ok_or_else(|| damaged(format!("{OPTIMIZER} has no float32 tensor {name} of shape {shape:?}")))
    };
    let moments = config.parameters().into_iter().map(|spec| {
        let moments = Moments {
            exp_avg: read(EXP_AVG, &spec.name, &spec.shape)?,
            exp_avg_sq: read(EXP_AVG_SQ, &spec.name, &spec.shape)?,
        };
        Ok((spec.name, moments))
    });
    moments.collect()
}
