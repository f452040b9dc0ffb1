//! Loading of checkpoints.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use fineline_layout::OPTIMIZER_FILE;
use fineline_model::{Llama, LlamaConfig, ParameterSpec, SpecialTokens, read_config};
use fineline_weights::WeightsError;

use crate::checkpoint::format::{EXP_AVG, EXP_AVG_SQ};
use crate::checkpoint::shard::{is_optimizer_file, parse_slice_name};
use crate::checkpoint::state::CheckpointState;
use crate::checkpoint::tensors::TensorFile;
use crate::distributed::Division;
use crate::error::TrainError;
use crate::optim::AdamState;
use crate::parameters::ByName;
use crate::step::{Trainer, TrainerState, TrainingRecipe};

/// Keys of `config.json` that may differ, because they don't affect what the model computes.
const FREE_KEYS: [&str; 2] = ["initializer_range", "max_position_embeddings"];

/// A checkpoint in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The model with the weights.
    pub model: Llama,
    /// The state of the run.
    pub state: CheckpointState,
    pub(crate) optimizer_state: ByName<AdamState>,
}

impl Checkpoint {
    /// Loads the checkpoint in `directory` for a run with the model `expected`, with the optimizer state that
    /// this rank keeps according to `division`, whichever ranks wrote it. The caller has
    /// [verified](crate::verify_checkpoint) the checkpoint, or found it by
    /// [`newest_complete`](crate::CheckpointDirectory::newest_complete).
    ///
    /// # Errors
    /// [`TrainError::OtherModel`] with the first key that differs, if the checkpoint is of a different model;
    /// [`TrainError::Damaged`] if its state or its optimizer state is incomplete; [`TrainError::Weights`] if
    /// its weights can't be read.
    pub fn load(
        directory: &Path,
        expected: &LlamaConfig,
        division: &Division,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let state = CheckpointState::read(directory)?;
        check_same_model(directory, expected)?;
        let model = fineline_model::load(directory, device)?;
        let optimizer_state = read_optimizer_state(directory, &state, division, device)?;
        Ok(Self { model, state, optimizer_state })
    }

    /// Resumes training from the checkpoint, with the same bits as if it had never stopped. The second
    /// warm-up is taken from the checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Config`] if a value of the recipe is not allowed.
    pub fn into_trainer(self, recipe: TrainingRecipe) -> Result<Trainer, TrainError> {
        let CheckpointState { progress, updates, rewarm, skipped_rows, guard, .. } = self.state;
        let (model, optimizer_state) = (self.model, self.optimizer_state);
        Trainer::from_state(
            recipe,
            TrainerState { model, optimizer_state, updates, progress, rewarm, skipped_rows, guard },
        )
    }
}

/// Checks that the `config.json` beside weights describes the model `expected`. Weights without a
/// `config.json` are accepted.
///
/// # Errors
/// [`TrainError::OtherModel`] with the first key that differs; [`TrainError::ModelConfig`] if the file can't
/// be read.
pub fn check_same_model(weights: &Path, expected: &LlamaConfig) -> Result<(), TrainError> {
    if !weights.join("config.json").is_file() {
        return Ok(());
    }
    match first_difference(&read_config(weights)?, expected) {
        Some(difference) => Err(TrainError::OtherModel { path: weights.to_owned(), difference }),
        None => Ok(()),
    }
}

/// Returns the first key of `config.json` that differs between two models, with both values.
fn first_difference(found: &LlamaConfig, expected: &LlamaConfig) -> Option<String> {
    let [found, expected] = [found, expected].map(|config| config.to_hf(SpecialTokens::default()));
    let mut keys = expected.as_object()?.iter().filter(|(key, _)| !FREE_KEYS.contains(&key.as_str()));
    keys.find(|(key, value)| found[*key] != **value)
        .map(|(key, value)| format!("{key} is {} there and {value} in this run", found[key]))
}

/// Reads the optimizer state that this rank keeps, whichever ranks wrote it.
fn read_optimizer_state(
    directory: &Path,
    state: &CheckpointState,
    division: &Division,
    device: &Device,
) -> Result<ByName<AdamState>, TrainError> {
    let mut files = OptimizerFiles::open(directory)?;
    if files.slices.is_empty() && state.updates == 0 {
        return Ok(ByName::new());
    }
    let mut read = |prefix: &str, spec: &ParameterSpec, range: &Range<usize>| {
        let values = files.read(&format!("{prefix}{}", spec.name), spec.len(), range)?;
        let data = TensorData::new(values, [range.len()]);
        Ok::<_, TrainError>(Tensor::from_data(data, device).without_autodiff())
    };
    let mut optimizer_state = ByName::new();
    for (spec, range) in division.owned_ranges() {
        let exp_avg = read(EXP_AVG, spec, &range)?;
        let exp_avg_sq = read(EXP_AVG_SQ, spec, &range)?;
        optimizer_state.insert(spec.name.clone(), AdamState { start: range.start, exp_avg, exp_avg_sq });
    }
    Ok(optimizer_state)
}

/// The files with the optimizer state: `optimizer.safetensors`, or one per rank.
struct OptimizerFiles {
    directory: PathBuf,
    files: Vec<TensorFile>,
    /// The slices of each tensor, ordered by offset.
    slices: HashMap<String, Vec<StoredSlice>>,
}

/// A slice of a tensor in one of the files.
struct StoredSlice {
    /// Range of values in the tensor.
    range: Range<usize>,
    /// Index of the file.
    file: usize,
    /// Name in the file.
    name: String,
}

impl OptimizerFiles {
    fn open(directory: &Path) -> Result<Self, TrainError> {
        let mut names: Vec<String> = fs_err::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.retain(|name| is_optimizer_file(name));
        names.sort();
        let mut opened = Self { directory: directory.to_owned(), files: Vec::new(), slices: HashMap::new() };
        if names.is_empty() {
            return Err(opened.damaged(format!("{OPTIMIZER_FILE} is missing")));
        }
        for (index, name) in names.iter().enumerate() {
            let file = TensorFile::open(&directory.join(name)).map_err(|error| match error {
                WeightsError::Io(error) => opened.unreadable(error),
                error => opened.damaged(error.to_string()),
            })?;
            for (name, len) in file.lens() {
                let (tensor, start) = parse_slice_name(name);
                let slice = StoredSlice { range: start..start + len, file: index, name: name.to_owned() };
                opened.slices.entry(tensor.to_owned()).or_default().push(slice);
            }
            opened.files.push(file);
        }
        opened.slices.values_mut().for_each(|slices| slices.sort_by_key(|slice| slice.range.start));
        Ok(opened)
    }

    /// Reads a range of a tensor that has `len` values.
    fn read(&mut self, name: &str, len: usize, range: &Range<usize>) -> Result<Vec<f32>, TrainError> {
        if !self.is_complete(name, len) {
            let Range { start, end } = range;
            let reason = format!("the optimizer's files have no float32 values {start}..{end} of {name}");
            return Err(self.damaged(reason));
        }
        let mut values = vec![0.0; range.len()];
        for slice in &self.slices[name] {
            let common = slice.range.start.max(range.start)..slice.range.end.min(range.end);
            if !common.is_empty() {
                let target = &mut values[common.start - range.start..common.end - range.start];
                self.files[slice.file].read_into(&slice.name, common.start - slice.range.start, target)?;
            }
        }
        Ok(values)
    }

    /// Returns whether the slices of a tensor cover its `len` values without gaps and overlaps.
    fn is_complete(&self, name: &str, len: usize) -> bool {
        let Some(slices) = self.slices.get(name) else { return false };
        let mut end = 0;
        for slice in slices {
            if slice.range.start != end {
                return false;
            }
            end = slice.range.end;
        }
        end == len
    }

    fn damaged(&self, reason: String) -> TrainError {
        TrainError::Damaged { path: self.directory.clone(), reason }
    }

    /// Returns the error of a file that can't be opened: damage if it is missing or truncated.
    fn unreadable(&self, error: io::Error) -> TrainError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                self.damaged(error.to_string())
            }
            _ => error.into(),
        }
    }
}
