//! Checkpoints loaded into memory.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use fineline_model::{Llama, LlamaConfig, ParameterSpec, SpecialTokens, read_config};

use crate::checkpoint::format::{EXP_AVG, EXP_AVG_SQ, OPTIMIZER};
use crate::checkpoint::shard::{is_optimizer_file, split_part_name};
use crate::checkpoint::state::CheckpointState;
use crate::checkpoint::tensors::TensorFile;
use crate::distributed::Division;
use crate::error::TrainError;
use crate::optim::AdamState;
use crate::parameters::ByName;
use crate::step::{Trainer, TrainerState, TrainingRecipe};

/// Keys of `config.json` that have no part in what the model computes.
const FREE_KEYS: [&str; 2] = ["initializer_range", "max_position_embeddings"];

/// A checkpoint in memory: all that [`into_trainer`](Self::into_trainer) needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The weights.
    pub model: Llama,
    /// All that is not a tensor.
    pub state: CheckpointState,
    pub(crate) moments: ByName<AdamState>,
}

impl Checkpoint {
    /// Loads the checkpoint in `folder` for a run whose model is `expected`, with the moments that are this rank's by `division`, whatever ranks
    /// wrote them. The caller has [verified](crate::verify_checkpoint) it,
    /// or found it by [`newest_whole`](crate::CheckpointDirectory::newest_whole), which does.
    ///
    /// # Errors
    /// [`TrainError::OtherModel`] with the first key or tensor that differs, if it is of another model.
    pub fn load(
        folder: &Path,
        expected: &LlamaConfig,
        division: &Division,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let state = CheckpointState::read(folder)?;
        check_same_model(folder, expected)?;
        let model = fineline_model::load(folder, device)?;
        let moments = read_optimizer_state(folder, &state, division, device)?;
        Ok(Self { model, state, moments })
    }

    /// Training from where the checkpoint was taken, to the same bits as if it had never stopped. A second warm-up is the checkpoint's own.
    ///
    /// # Errors
    /// [`TrainError::Config`] if a value of the recipe is out of range.
    pub fn into_trainer(self, recipe: TrainingRecipe) -> Result<Trainer, TrainError> {
        let CheckpointState { progress, updates, rewarm, skipped_rows, guard, .. } = self.state;
        let (model, moments) = (self.model, self.moments);
        Trainer::from_state(
            recipe,
            TrainerState { model, moments, updates, progress, rewarm, skipped_rows, guard },
        )
    }
}

/// Refuses weights whose `config.json` describes another model than `expected`. Those without one are taken for what they are said to be.
///
/// # Errors
/// [`TrainError::OtherModel`] with the first key that differs.
pub fn check_same_model(weights: &Path, expected: &LlamaConfig) -> Result<(), TrainError> {
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

/// Reads the moments that are this rank's, whatever ranks wrote them.
fn read_optimizer_state(
    folder: &Path,
    state: &CheckpointState,
    division: &Division,
    device: &Device,
) -> Result<ByName<AdamState>, TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: folder.to_owned(), reason };
    let mut files = OptimizerFiles::open(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            damaged(error.to_string())
        }
        _ => error.into(),
    })?;
    if files.parts.is_empty() && state.updates == 0 {
        return Ok(ByName::new());
    }
    let mut read = |prefix: &str, spec: &ParameterSpec, values: &Range<usize>| {
        let name = format!("{prefix}{}", spec.name);
        let missing = || {
            let (start, end) = (values.start, values.end);
            damaged(format!("the optimizer's files have no float32 values {start}..{end} of {name}"))
        };
        let read = files.read(&name, spec.len(), values)?.ok_or_else(missing)?;
        let data = TensorData::new(read, [values.len()]);
        Ok::<_, TrainError>(Tensor::from_data(data, device).without_autodiff())
    };
    let owned = division.owned().into_iter();
    let moments = owned.map(|(spec, values)| {
        let moments = AdamState {
            start: values.start,
            exp_avg: read(EXP_AVG, spec, &values)?,
            exp_avg_sq: read(EXP_AVG_SQ, spec, &values)?,
        };
        Ok((spec.name.clone(), moments))
    });
    moments.collect()
}

/// `optimizer.safetensors`, or the files that ranks wrote a part of it into each.
struct OptimizerFiles {
    files: Vec<TensorFile>,
    /// By name: which values of the tensor stand where.
    parts: HashMap<String, Vec<Part>>,
}

struct Part {
    /// Which values of the whole.
    values: Range<usize>,
    /// Which file.
    file: usize,
    /// What the part is called there.
    name: String,
}

impl OptimizerFiles {
    fn open(folder: &Path) -> io::Result<Self> {
        let mut names: Vec<String> = fs_err::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.retain(|name| is_optimizer_file(name));
        names.sort();
        if names.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{OPTIMIZER} is missing")));
        }
        let mut found = Self { files: Vec::new(), parts: HashMap::new() };
        for (at, file) in names.iter().enumerate() {
            let file = TensorFile::open(&folder.join(file))?;
            for (name, len) in file.lens() {
                let (tensor, start) = split_part_name(&name);
                let part = Part { values: start..start + len, file: at, name: name.clone() };
                found.parts.entry(tensor.to_owned()).or_default().push(part);
            }
            found.files.push(file);
        }
        found.parts.values_mut().for_each(|parts| parts.sort_by_key(|part| part.values.start));
        Ok(found)
    }

    /// Some values of a tensor that has `len` in all. `None` if not all of them, or not `len`, are there.
    fn read(&mut self, name: &str, len: usize, wanted: &Range<usize>) -> io::Result<Option<Vec<f32>>> {
        let Some(parts) = self.parts.get(name) else { return Ok(None) };
        let mut end = 0;
        for part in parts {
            if part.values.start != end {
                return Ok(None);
            }
            end = part.values.end;
        }
        if end != len {
            return Ok(None);
        }
        let mut values = vec![0.0; wanted.len()];
        for part in parts {
            let common = part.values.start.max(wanted.start)..part.values.end.min(wanted.end);
            if !common.is_empty() {
                let into = &mut values[common.start - wanted.start..common.end - wanted.start];
                self.files[part.file].read_into(&part.name, common.start - part.values.start, into)?;
            }
        }
        Ok(Some(values))
    }
}
