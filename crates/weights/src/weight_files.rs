//! The weights of a model in any layout.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::arrange::are_heads;
use crate::error::WeightsError;
use crate::index::open_shards;
use crate::tensor::{IgnoredEntry, StoredTensor, ValueOrder};
use crate::{easylm, pytorch, safetensors};

/// In what form weights lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightLayout {
    /// Hugging Face's safetensors, single or in shards.
    SafeTensors,
    /// PyTorch's zip archives with a pickle, single or in shards.
    PyTorch,
    /// EasyLM's stream of msgpack values.
    EasyLm,
}

impl fmt::Display for WeightLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SafeTensors => "safetensors",
            Self::PyTorch => "PyTorch",
            Self::EasyLm => "EasyLM",
        })
    }
}

/// What the files of a checkpoint hold.
#[derive(Debug)]
pub struct WeightFiles {
    /// The file or folder that was opened.
    pub path: PathBuf,
    /// In what form.
    pub layout: WeightLayout,
    /// Every tensor, by its Hugging Face name.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What else is in the files.
    pub ignored: Vec<IgnoredEntry>,
}

impl WeightFiles {
    /// Reads the headers of a checkpoint: a folder, a single file of any layout, or an index of shards.
    ///
    /// Of a folder with several layouts safetensors are read, as `transformers` does; then `.bin`, then EasyLM's.
    ///
    /// # Errors
    /// Anything that makes the files other than whole: see [`WeightsError`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = if path.is_dir() { file_of(path)? } else { path.to_owned() };
        let is_index = file.extension().is_some_and(|extension| extension == "json");
        let mut ignored = Vec::new();
        let (layout, found) = if is_index {
            if file.to_string_lossy().ends_with(".bin.index.json") {
                (WeightLayout::PyTorch, open_shards(&file, pytorch::open)?)
            } else {
                (WeightLayout::SafeTensors, open_shards(&file, safetensors::open)?)
            }
        } else {
            let layout = recognize(&file)?;
            let found = match layout {
                WeightLayout::SafeTensors => safetensors::open(&file)?,
                WeightLayout::PyTorch => pytorch::open(&file)?,
                WeightLayout::EasyLm => easylm::open(&file, &mut ignored)?,
            };
            (layout, found)
        };
        let mut tensors = BTreeMap::new();
        for tensor in found {
            if let Some(first) = tensors.insert(tensor.name.clone(), tensor) {
                let second: &StoredTensor = &tensors[&first.name];
                return Err(WeightsError::Duplicate { path: second.file.clone(), name: second.key.clone() });
            }
        }
        Ok(Self { path: path.to_owned(), layout, tensors, ignored })
    }

    /// Tells the size of an attention head, without which the rotary tensors of EasyLM can't be read. Others don't mind.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] if it doesn't divide the rows of one of these.
    pub fn with_head_size(mut self, size: usize) -> Result<Self, WeightsError> {
        for tensor in self.tensors.values_mut() {
            let ValueOrder::Rotary { head_size } = &mut tensor.location.order else { continue };
            let rows = tensor.shape[0];
            if !are_heads(rows, size) {
                let problem = format!(
                    "has {rows} columns, which heads of {size} don't divide: is this its configuration?"
                );
                return Err(WeightsError::tensor(&tensor.file, &tensor.key, problem));
            }
            *head_size = Some(size);
        }
        Ok(self)
    }

    /// The files that tensors are read from, in order.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.tensors.values().map(|tensor| tensor.file.as_path()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

/// The file of a folder to begin with.
fn file_of(folder: &Path) -> Result<PathBuf, WeightsError> {
    let usual =
        [safetensors::SINGLE_FILE, safetensors::INDEX_FILE, pytorch::SINGLE_FILE, pytorch::INDEX_FILE];
    if let Some(found) = usual.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let mut streams = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if easylm::is_stream_name(&name) && entry.path().is_file() {
            streams.push(name);
        }
    }
    streams.sort();
    match &streams[..] {
        [] => Err(WeightsError::NoWeights { path: folder.to_owned() }),
        [name] => Ok(folder.join(name)),
        _ => Err(WeightsError::Ambiguous { path: folder.to_owned(), files: streams }),
    }
}

/// The layout of a file by how it begins.
fn recognize(path: &Path) -> Result<WeightLayout, WeightsError> {
    let mut start = Vec::new();
    fs_err::File::open(path)?.take(9).read_to_end(&mut start)?;
    let is_named = |extension: &str| path.extension().is_some_and(|found| found == extension);
    match &start[..] {
        [b'P', b'K', 3, 4, ..] => Ok(WeightLayout::PyTorch),
        // An array of two, whose first is an array of at most fifteen: a path.
        [0x92, 0x90..=0x9f, ..] => Ok(WeightLayout::EasyLm),
        [_, _, _, _, _, _, _, _, b'{'] => Ok(WeightLayout::SafeTensors),
        // A damaged header is best explained by its own reader.
        _ if is_named("safetensors") => Ok(WeightLayout::SafeTensors),
        // A pickle of protocol 2 or above, or tar's name of its first member.
        [0x80, 2..=5, ..] => Err(WeightsError::Legacy { path: path.to_owned() }),
        _ if start.starts_with(b"storages") || start.starts_with(b"sys_info") || start.starts_with(b"./") => {
            Err(WeightsError::Legacy { path: path.to_owned() })
        }
        _ if is_named("bin") => {
            Err(WeightsError::malformed(path, "is no PyTorch file, or its beginning is damaged"))
        }
        _ => Err(WeightsError::Unrecognized { path: path.to_owned() }),
    }
}
