//! The weights of a model on disk: which tensors it has, read from any layout of `fineline-weights` and written as safetensors.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, TensorData};
use fineline_diagnostics::{Classified, ErrorClass};
use fineline_weights::safetensors::{TensorDescription, write_header};
use fineline_weights::{Dtype, IgnoredEntry, StoredTensor, WeightFiles};
use half::{bf16, f16};
use rayon::prelude::*;
use thiserror::Error;

use crate::llama::{Llama, LlamaConfig, ModelConfigError, ParameterSpec, read_config};

/// Why weights could not be read, written or converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelWeightsError {
    /// `config.json` is unusable.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The files are damaged, incomplete, or of no layout that is known.
    #[error(transparent)]
    Files(#[from] fineline_weights::WeightsError),
    /// Parameters of the model are not in the checkpoint.
    #[error("{path}: `{first}` is missing ({count} of the model's parameters are)")]
    Missing {
        /// The checkpoint.
        path: PathBuf,
        /// The first one that is missing.
        first: String,
        /// How many are.
        count: usize,
    },
    /// The checkpoint has tensors that the model has not.
    #[error("{path}: `{name}` is no parameter of the model that config.json describes")]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the parameter.
    #[error("{path}: `{name}` has shape {found:?}, the model's has {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape there.
        found: Vec<usize>,
        /// The shape that the configuration demands.
        expected: Vec<usize>,
    },
    /// A tensor has a type that is not read.
    #[error("{path}: `{name}` is {dtype}, but only F32, F16 and BF16 can be read")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type there.
        dtype: Dtype,
    },
    /// A head of its own beside an embedding that the configuration ties it to.
    #[error(
        "{path}: `{HEAD}` differs from the embedding, to which config.json ties it (tie_word_embeddings): one of the two is wrong"
    )]
    UntiedHead {
        /// The file.
        path: PathBuf,
    },
    /// Nothing says which architecture the weights are of.
    #[error("{path}: has no config.json beside its weights: give one, or a preset, with --config")]
    NoConfig {
        /// The checkpoint.
        path: PathBuf,
    },
    /// What is to be written is there.
    #[error("{path}: is there already, and not an empty folder: choose another, or remove it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

impl ModelWeightsError {
    /// Whether it ended because whoever follows its progress said so.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Files(fineline_weights::WeightsError::Stopped))
    }
}

impl Classified for ModelWeightsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoConfig { .. } | Self::Exists { .. } => ErrorClass::Usage,
            Self::Config(error) => error.class(),
            Self::Files(error) => error.class(),
            _ => ErrorClass::Environment,
        }
    }
}

/// The name of the head.
const HEAD: &str = "lm_head.weight";

/// The model in a folder with its `config.json` and weights in any layout, as float32.
pub fn load(dir: &Path, device: &Device) -> Result<Llama, ModelWeightsError> {
    load_as(&read_config(dir)?, dir, device)
}

/// The weights in a folder or file, for a model of this architecture (`config.json` is not read).
///
/// Half precision becomes float32. Stored rotary frequencies are left out, and so is a head beside a tied embedding.
/// Anything missing, too much or of another shape is an error that names it.
pub fn load_as(config: &LlamaConfig, path: &Path, device: &Device) -> Result<Llama, ModelWeightsError> {
    let checkpoint = WeightFiles::open(path)?.with_head_size(config.head_size())?;
    let MatchedTensors { tensors, .. } = match_tensors(&checkpoint, config)?;
    check_tied_head(&checkpoint, config)?;
    let read: Vec<_> = tensors.par_iter().map(|tensor| read(tensor)).collect();
    // Of several errors, the first in the order of the parameters: `rayon` would give any.
    let values = read.into_iter().collect::<Result<Vec<TensorData>, _>>()?;
    Ok(Llama::from_parameters(config, values, device))
}

/// A model's parameters among the tensors of a checkpoint.
#[derive(Debug)]
pub(crate) struct MatchedTensors<'a> {
    /// One for each of [`LlamaConfig::parameters`], in this order.
    pub(crate) tensors: Vec<&'a StoredTensor>,
    /// What else is there.
    pub(crate) ignored: Vec<IgnoredEntry>,
}

/// Finds the parameters of a model in a checkpoint, all of which must be there, in their shapes and in a precision that is read.
///
/// # Errors
/// The first that isn't, or that the model doesn't have, by name.
pub(crate) fn match_tensors<'a>(
    checkpoint: &'a WeightFiles,
    config: &LlamaConfig,
) -> Result<MatchedTensors<'a>, ModelWeightsError> {
    let specs = config.parameters();
    let TensorMismatch { missing, unexpected, ignored } = tensor_mismatch(checkpoint, config);
    if let Some(first) = missing.first() {
        let (path, count) = (checkpoint.path.clone(), missing.len());
        return Err(ModelWeightsError::Missing { path, first: first.clone(), count });
    }
    if let Some(name) = unexpected.into_iter().next() {
        return Err(ModelWeightsError::Unexpected { path: checkpoint.tensors[&name].file.clone(), name });
    }
    let tensors = specs.iter().map(|spec| check_tensor(spec, &checkpoint.tensors[&spec.name]));
    Ok(MatchedTensors { tensors: tensors.collect::<Result<_, _>>()?, ignored })
}

/// How the tensors of a checkpoint differ from the parameters of a model.
#[derive(Debug)]
pub(crate) struct TensorMismatch {
    pub(crate) missing: Vec<String>,
    pub(crate) unexpected: Vec<String>,
    pub(crate) ignored: Vec<IgnoredEntry>,
}

pub(crate) fn tensor_mismatch(checkpoint: &WeightFiles, config: &LlamaConfig) -> TensorMismatch {
    let specs = config.parameters();
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let missing = specs.iter().map(|spec| &spec.name).filter(|name| !checkpoint.tensors.contains_key(*name));
    let missing = missing.cloned().collect();
    let mut unexpected = Vec::new();
    let mut ignored = checkpoint.ignored.clone();
    for name in checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str())) {
        match reason_to_ignore(name, config) {
            Some(reason) => ignored.push(IgnoredEntry { name: name.clone(), reason: reason.to_owned() }),
            None => unexpected.push(name.clone()),
        }
    }
    TensorMismatch { missing, unexpected, ignored }
}

/// Buffers that old versions of `transformers` stored, and the copy of a tied head.
fn reason_to_ignore(name: &str, config: &LlamaConfig) -> Option<&'static str> {
    if name.ends_with(".rotary_emb.inv_freq") {
        Some("a buffer that is computed from rope_theta")
    } else if config.tie_word_embeddings && name == HEAD {
        Some("the embedding again, to which it is tied")
    } else {
        None
    }
}

fn check_tensor<'a>(
    spec: &ParameterSpec,
    tensor: &'a StoredTensor,
) -> Result<&'a StoredTensor, ModelWeightsError> {
    if tensor.shape != spec.shape {
        return Err(ModelWeightsError::Shape {
            path: tensor.file.clone(),
            name: spec.name.clone(),
            found: tensor.shape.clone(),
            expected: spec.shape.clone(),
        });
    }
    match tensor.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(tensor),
        dtype => {
            let (path, name) = (tensor.file.clone(), spec.name.clone());
            Err(ModelWeightsError::Dtype { path, name, dtype })
        }
    }
}

/// Checks that a head that is left out because it is tied says nothing of its own.
pub(crate) fn check_tied_head(
    checkpoint: &WeightFiles,
    config: &LlamaConfig,
) -> Result<(), ModelWeightsError> {
    let embedding = &config.parameters()[0].name;
    let pair = (checkpoint.tensors.get(HEAD), checkpoint.tensors.get(embedding));
    let (Some(head), Some(embedding)) = pair else { return Ok(()) };
    if config.tie_word_embeddings && (head.dtype != embedding.dtype || head.read()? != embedding.read()?) {
        return Err(ModelWeightsError::UntiedHead { path: head.file.clone() });
    }
    Ok(())
}

/// Reads a parameter as float32. Values go from the file to where they stay.
fn read(tensor: &StoredTensor) -> Result<TensorData, ModelWeightsError> {
    let mut values = vec![0.0_f32; tensor.len()];
    let mut reader = tensor.open()?;
    if tensor.dtype == Dtype::F32 {
        reader.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    } else {
        /// Values that are converted at once.
        const PIECE: usize = 1 << 20;
        let mut halves = vec![[0; 2]; PIECE.min(values.len())];
        for piece in values.chunks_mut(PIECE) {
            let halves = &mut halves[..piece.len()];
            reader.read_exact(bytemuck::cast_slice_mut(halves))?;
            for (value, &half) in piece.iter_mut().zip(&*halves) {
                *value = match tensor.dtype {
                    Dtype::F16 => f16::from_le_bytes(half).to_f32(),
                    _ => bf16::from_le_bytes(half).to_f32(),
                };
            }
        }
    }
    Ok(TensorData::new(values, tensor.shape.clone()))
}

/// A tensor as the header of a safetensors file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its elements: F32, F16, BF16 or I64.
    pub dtype: DType,
}

impl TensorHeader {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    fn described(&self) -> io::Result<TensorDescription> {
        let dtype = match self.dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            dtype => {
                let message = format!("`{}` is {dtype:?}, which is not written to safetensors", self.name);
                return Err(invalid(message));
            }
        };
        Ok(TensorDescription { name: self.name.clone(), shape: self.shape.clone(), dtype })
    }
}

/// Writes a safetensors file, with the metadata that `transformers` asks for. Values are taken one at a time, in the order of
/// the headers: of however many tensors, one is on the host.
///
/// The same tensors always give the same bytes. That the file is on the disk and appears whole is the caller's business.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a type that is not written, and for values that are not what their header says.
pub fn write_safetensors(
    out: &mut impl Write,
    headers: &[TensorHeader],
    values: impl IntoIterator<Item = TensorData>,
) -> io::Result<()> {
    write_header(out, &headers.iter().map(TensorHeader::described).collect::<io::Result<Vec<_>>>()?)?;
    let mut values = values.into_iter();
    for header in headers {
        let fits =
            |data: &TensorData| data.dtype() == header.dtype && data.as_bytes().len() == header.bytes();
        let unfit = || invalid(format!("the values of `{}` are not what its header says", header.name));
        out.write_all(values.next().filter(fits).ok_or_else(unfit)?.as_bytes())?;
    }
    Ok(())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests;
