//! The weights of a model on disk, read from any layout of `fineline-weights` and written as safetensors.

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

/// Errors of reading, writing and converting weights.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelWeightsError {
    /// The `config.json` is invalid.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The files are damaged, incomplete, or of an unknown layout.
    #[error(transparent)]
    Files(#[from] fineline_weights::WeightsError),
    /// Parameters of the model are missing in the checkpoint.
    #[error("{path}: `{first}` is missing ({count} of the model's parameters are missing)")]
    Missing {
        /// The checkpoint.
        path: PathBuf,
        /// The first missing parameter.
        first: String,
        /// Number of missing parameters.
        count: usize,
    },
    /// The checkpoint has a tensor that isn't a parameter of the model.
    #[error("{path}: `{name}` isn't a parameter of the model that config.json describes")]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor's shape differs from that of the parameter.
    #[error("{path}: `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape required by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor has an unsupported type.
    #[error("{path}: `{name}` has type {dtype}, expected F32, F16 or BF16")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type in the file.
        dtype: Dtype,
    },
    /// The head differs from the embedding that the configuration ties it to.
    #[error(
        "{path}: `{HEAD}` differs from the embedding, but config.json sets tie_word_embeddings; \
         correct one of them"
    )]
    UntiedHead {
        /// The file.
        path: PathBuf,
    },
    /// The architecture of the weights is unknown.
    #[error("{path}: no config.json next to the weights; pass one, or a preset, with --config")]
    NoConfig {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The output directory exists and isn't empty.
    #[error("{path}: already exists and isn't an empty directory; choose another, or remove it")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
}

impl ModelWeightsError {
    /// Returns whether the caller's progress callback stopped the operation.
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

/// Name of the head.
const HEAD: &str = "lm_head.weight";

/// Loads a model from a directory with `config.json` and weights in any layout. Values become float32.
///
/// # Errors
/// Returns [`ModelWeightsError::Config`] if `config.json` is missing or invalid, and otherwise as
/// [`load_as`].
pub fn load(dir: &Path, device: &Device) -> Result<Llama, ModelWeightsError> {
    load_as(&read_config(dir)?, dir, device)
}

/// Loads the weights in a directory or file into a model of this architecture. `config.json` isn't read.
///
/// Half precision becomes float32. Stored rotary frequencies are ignored, and so is a head that is tied to
/// the embedding.
///
/// # Errors
/// Returns [`ModelWeightsError::Files`] for an unknown layout or damaged files, [`ModelWeightsError::Io`] for
/// files that can't be read, and the other variants for tensors that don't match the architecture: missing,
/// unexpected, of another shape or of an unsupported type.
pub fn load_as(config: &LlamaConfig, path: &Path, device: &Device) -> Result<Llama, ModelWeightsError> {
    let checkpoint = WeightFiles::open(path)?.with_head_size(config.head_size())?;
    let MatchedTensors { tensors, .. } = match_tensors(&checkpoint, config)?;
    check_tied_head(&checkpoint, config)?;
    let read: Vec<_> = tensors.par_iter().map(|tensor| read(tensor)).collect();
    // `rayon` would return any of several errors. This returns the first in the order of the parameters.
    let values = read.into_iter().collect::<Result<Vec<TensorData>, _>>()?;
    Ok(Llama::from_parameters(config, values, device))
}

/// The tensors of a checkpoint that are a model's parameters.
#[derive(Debug)]
pub(crate) struct MatchedTensors<'a> {
    /// One tensor for each of [`LlamaConfig::parameters`], in this order.
    pub(crate) tensors: Vec<&'a StoredTensor>,
    /// Other contents.
    pub(crate) ignored: Vec<IgnoredEntry>,
}

/// Finds the parameters of a model in a checkpoint. All must be present, with matching shapes and a supported
/// type.
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

/// Differences between the tensors of a checkpoint and the parameters of a model.
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

/// Buffers stored by old versions of `transformers`, and the copy of a tied head.
fn reason_to_ignore(name: &str, config: &LlamaConfig) -> Option<&'static str> {
    if name.ends_with(".rotary_emb.inv_freq") {
        Some("a buffer computed from rope_theta")
    } else if config.tie_word_embeddings && name == HEAD {
        Some("a copy of the embedding that it is tied to")
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

/// Checks that an ignored tied head has the values of the embedding.
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

/// Reads a parameter as float32, directly into its final buffer.
fn read(tensor: &StoredTensor) -> Result<TensorData, ModelWeightsError> {
    let mut values = vec![0.0_f32; tensor.len()];
    let mut reader = tensor.open()?;
    if tensor.dtype == Dtype::F32 {
        reader.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    } else {
        /// Number of values to convert at a time.
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

/// Description of a tensor in the header of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Type of its elements: F32, F16, BF16 or I64.
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
                let message =
                    format!("`{}` has type {dtype:?}, which isn't supported in safetensors", self.name);
                return Err(invalid(message));
            }
        };
        Ok(TensorDescription { name: self.name.clone(), shape: self.shape.clone(), dtype })
    }
}

/// Writes a safetensors file with the metadata that `transformers` expects. Values are consumed one at a
/// time, in the order of the headers, so that only one tensor is on the host.
///
/// The same tensors always give the same bytes. The caller is responsible for syncing the file and for
/// writing it atomically.
///
/// # Errors
/// Returns [`io::ErrorKind::InvalidInput`] for an unsupported type, and for values that don't match their
/// header. Passes on errors of `out`.
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
        let unfit = || invalid(format!("the values of `{}` don't match its header", header.name));
        out.write_all(values.next().filter(fits).ok_or_else(unfit)?.as_bytes())?;
    }
    Ok(())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests;
