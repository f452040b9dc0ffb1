//! Weights on disk: safetensors, in one file or in shards with an index, under the names of Hugging Face.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Component, Path, PathBuf},
};

use burn::tensor::{DType, Device, TensorData};
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{
    Dtype, SafeTensorError, SafeTensors,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    config::{ConfigError, LlamaConfig},
    hf_config::read_config,
    llama::Llama,
    parameters::ParameterSpec,
};

/// The file of a checkpoint that is not in shards.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The index of a checkpoint in shards.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Why weights could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// `config.json` is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The directory has neither a file of weights nor an index.
    #[error("{dir}: holds neither {SINGLE_FILE} nor {INDEX_FILE}")]
    NoWeights {
        /// The directory.
        dir: PathBuf,
    },
    /// A file is not safetensors, or is cut short.
    #[error("{path}: not a whole safetensors file: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: SafeTensorError,
    },
    /// The index is not JSON with a `weight_map`.
    #[error("{path}: {source}")]
    Index {
        /// The index.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The index names a file that is not beside it.
    #[error("{path}: `{file}` lies outside the checkpoint's directory")]
    OutsideDirectory {
        /// The index.
        path: PathBuf,
        /// The file it names.
        file: String,
    },
    /// A tensor stands in two shards.
    #[error("{path}: `{name}` is in another shard too")]
    Duplicate {
        /// The second file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Parameters of the model are not in the checkpoint.
    #[error("{dir}: `{first}` is missing ({count} of the model's parameters are)")]
    Missing {
        /// The directory.
        dir: PathBuf,
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
        dtype: String,
    },
}

/// The model in a Hugging Face directory: its `config.json` and its safetensors, as float32.
pub fn load(dir: &Path, device: &Device) -> Result<Llama, WeightsError> {
    load_as(&read_config(dir)?, dir, device)
}

/// The weights in a Hugging Face directory, for a model of this architecture (`config.json` is not read).
///
/// Half precision becomes float32. Stored rotary frequencies are left out, and so is a head beside a tied embedding.
/// Anything missing, too much or of another shape is an error that names it.
pub fn load_as(config: &LlamaConfig, dir: &Path, device: &Device) -> Result<Llama, WeightsError> {
    let mut stored = stored(dir)?;
    stored.retain(|name, _| !is_ignored(name, config));
    let specs = config.parameters();
    let absent: Vec<&ParameterSpec> = specs.iter().filter(|spec| !stored.contains_key(&spec.name)).collect();
    if let Some(first) = absent.first() {
        return Err(WeightsError::Missing {
            dir: dir.to_owned(),
            first: first.name.clone(),
            count: absent.len(),
        });
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    if let Some((name, place)) = stored.iter().find(|(name, _)| !known.contains(name.as_str())) {
        return Err(WeightsError::Unexpected { path: place.path.clone(), name: name.clone() });
    }
    let read: Vec<_> = specs.par_iter().map(|spec| read(spec, &stored)).collect();
    // Of several errors, the first in the order of the parameters: `rayon` would give any.
    let values = read.into_iter().collect::<Result<Vec<TensorData>, _>>()?;
    Ok(Llama::from_parameters(config, values, device))
}

/// Buffers that old versions of `transformers` stored, and the copy of a tied head.
fn is_ignored(name: &str, config: &LlamaConfig) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight")
}

/// Every tensor of a checkpoint, by name.
pub(crate) type Stored = BTreeMap<String, StoredAt>;

/// Where a tensor is, and of what kind.
pub(crate) struct StoredAt {
    pub(crate) path: PathBuf,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Its place in the file.
    pub(crate) bytes: Range<u64>,
}

/// Reads a parameter. Values go from the file to where they stay: a map of the file would hold all weights a second time.
fn read(spec: &ParameterSpec, stored: &Stored) -> Result<TensorData, WeightsError> {
    let StoredAt { path, dtype, shape, bytes } = &stored[&spec.name];
    if *shape != spec.shape {
        return Err(WeightsError::Shape {
            path: path.clone(),
            name: spec.name.clone(),
            found: shape.clone(),
            expected: spec.shape.clone(),
        });
    }
    let mut file = fs_err::File::open(path)?;
    file.seek(SeekFrom::Start(bytes.start))?;
    let count = shape.iter().product();
    let mut halves = || -> io::Result<Vec<[u8; 2]>> {
        let mut halves = vec![[0; 2]; count];
        file.read_exact(bytemuck::cast_slice_mut(&mut halves))?;
        Ok(halves)
    };
    let values: Vec<f32> = match dtype {
        Dtype::F32 => {
            let mut values = vec![0.0; count];
            file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
            values
        }
        Dtype::F16 => halves()?.into_iter().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => halves()?.into_iter().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        dtype => {
            let (path, name) = (path.clone(), spec.name.clone());
            return Err(WeightsError::Dtype { path, name, dtype: dtype.to_string() });
        }
    };
    Ok(TensorData::new(values, spec.shape.clone()))
}

/// Reads the headers of a checkpoint's files: of the single one, or of those that the index names.
pub(crate) fn stored(dir: &Path) -> Result<Stored, WeightsError> {
    let single = dir.join(SINGLE_FILE);
    let index = dir.join(INDEX_FILE);
    let paths = if single.is_file() {
        vec![single]
    } else if index.is_file() {
        shard_paths(dir, &index)?
    } else {
        return Err(WeightsError::NoWeights { dir: dir.to_owned() });
    };
    let mut stored = Stored::new();
    for path in paths {
        for (name, place) in header(&path)? {
            if stored.insert(name.clone(), place).is_some() {
                return Err(WeightsError::Duplicate { path, name });
            }
        }
    }
    Ok(stored)
}

/// The tensors of a safetensors file, which must be whole.
fn header(path: &Path) -> Result<Vec<(String, StoredAt)>, WeightsError> {
    let file = fs_err::File::open(path)?;
    #[allow(unsafe_code, reason = "the parser wants the whole file, of which it reads the beginning")]
    // SAFETY: checkpoints are published by renaming whole directories and never written in place; a foreign
    // process that truncates the file while it is read is outside what a reader can guard against.
    let bytes = unsafe { Mmap::map(file.file()) }?;
    let (length, metadata) = SafeTensors::read_metadata(&bytes)
        .map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    // Before the header stands its length.
    let data = (size_of::<u64>() + length) as u64;
    let place = |(name, info): (String, &TensorInfo)| {
        let (start, end) = info.data_offsets;
        let bytes = data + start as u64..data + end as u64;
        (name, StoredAt { path: path.to_owned(), dtype: info.dtype, shape: info.shape.clone(), bytes })
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}

fn shard_paths(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let text = fs_err::read_to_string(index)?;
    let Index { weight_map } = serde_json::from_str(&text)
        .map_err(|source| WeightsError::Index { path: index.to_owned(), source })?;
    let files: BTreeSet<String> = weight_map.into_values().collect();
    let beside_index = |file: String| {
        let mut parts = Path::new(&file).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(name)), None) => Ok(dir.join(name)),
            _ => Err(WeightsError::OutsideDirectory { path: index.to_owned(), file }),
        }
    };
    files.into_iter().map(beside_index).collect()
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

    fn stored_dtype(&self) -> io::Result<Dtype> {
        match self.dtype {
            DType::F32 => Ok(Dtype::F32),
            DType::F16 => Ok(Dtype::F16),
            DType::BF16 => Ok(Dtype::BF16),
            DType::I64 => Ok(Dtype::I64),
            dtype => {
                Err(invalid(format!("`{}` is {dtype:?}, which is not written to safetensors", self.name)))
            }
        }
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
    let mut json = serde_json::to_vec(&metadata(headers)?)?;
    // Readers map the data; the format wants it to begin at a multiple of eight.
    json.resize(json.len().next_multiple_of(8), b' ');
    out.write_all(&(json.len() as u64).to_le_bytes())?;
    out.write_all(&json)?;
    let mut values = values.into_iter();
    for header in headers {
        let fits =
            |data: &TensorData| data.dtype() == header.dtype && data.as_bytes().len() == header.bytes();
        let unfit = || invalid(format!("the values of `{}` are not what its header says", header.name));
        out.write_all(values.next().filter(fits).ok_or_else(unfit)?.as_bytes())?;
    }
    Ok(())
}

fn metadata(headers: &[TensorHeader]) -> io::Result<Metadata> {
    let mut end = 0;
    let info = |header: &TensorHeader| {
        let start = end;
        end += header.bytes();
        let (dtype, shape) = (header.stored_dtype()?, header.shape.clone());
        Ok((header.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) }))
    };
    let infos = headers.iter().map(info).collect::<io::Result<_>>()?;
    // `transformers` refuses a file without the framework's name.
    let framework = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Metadata::new(Some(framework), infos).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
