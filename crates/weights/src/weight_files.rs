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

/// Layout of weights in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightLayout {
    /// Hugging Face's safetensors, one file or sharded.
    SafeTensors,
    /// PyTorch's zip archives with a pickle, one file or sharded.
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

/// The weights of a model in files.
#[derive(Debug)]
pub struct WeightFiles {
    /// File or directory that was opened.
    pub path: PathBuf,
    /// Layout of the files.
    pub layout: WeightLayout,
    /// Tensors, by their names in Hugging Face's layout.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// Other contents of the files.
    pub ignored: Vec<IgnoredEntry>,
}

impl WeightFiles {
    /// Reads the headers of a directory, of a single file of any layout, or of the shards of an index.
    ///
    /// In a directory with several layouts, safetensors take precedence, as in `transformers`, then `.bin`,
    /// then EasyLM.
    ///
    /// # Errors
    /// Any condition that makes the files unusable or incomplete. See [`WeightsError`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = if path.is_dir() { find_weight_file(path)? } else { path.to_owned() };
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

    /// Sets the size of an attention head, without which the rotary tensors of EasyLM cannot be read. Other
    /// layouts don't need it.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] if the rows of such a tensor are not a multiple of it.
    pub fn with_head_size(mut self, size: usize) -> Result<Self, WeightsError> {
        for tensor in self.tensors.values_mut() {
            let ValueOrder::Rotary { head_size } = &mut tensor.location.order else { continue };
            let rows = tensor.shape[0];
            if !are_heads(rows, size) {
                let problem = format!(
                    "has {rows} columns, not a multiple of the head size {size}; check that the \
                     configuration belongs to these weights"
                );
                return Err(WeightsError::tensor(&tensor.file, &tensor.key, problem));
            }
            *head_size = Some(size);
        }
        Ok(self)
    }

    /// Returns the files that contain tensors, in alphabetic order.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.tensors.values().map(|tensor| tensor.file.as_path()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

/// Returns the file of a directory to start with.
fn find_weight_file(dir: &Path) -> Result<PathBuf, WeightsError> {
    let usual =
        [safetensors::SINGLE_FILE, safetensors::INDEX_FILE, pytorch::SINGLE_FILE, pytorch::INDEX_FILE];
    if let Some(found) = usual.iter().map(|name| dir.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let mut streams = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if easylm::is_stream_name(&name) && entry.path().is_file() {
            streams.push(name);
        }
    }
    streams.sort();
    match &streams[..] {
        [] => Err(WeightsError::NoWeights { path: dir.to_owned() }),
        [name] => Ok(dir.join(name)),
        _ => Err(WeightsError::Ambiguous { path: dir.to_owned(), files: streams }),
    }
}

/// Returns the layout of a file, determined from its first bytes.
fn recognize(path: &Path) -> Result<WeightLayout, WeightsError> {
    let mut start = Vec::new();
    fs_err::File::open(path)?.take(9).read_to_end(&mut start)?;
    let is_named = |extension: &str| path.extension().is_some_and(|found| found == extension);
    match &start[..] {
        [b'P', b'K', 3, 4, ..] => Ok(WeightLayout::PyTorch),
        // An array of two elements, the first of which is an array of at most fifteen elements: a path.
        [0x92, 0x90..=0x9f, ..] => Ok(WeightLayout::EasyLm),
        [_, _, _, _, _, _, _, _, b'{'] => Ok(WeightLayout::SafeTensors),
        // The reader of the format gives the best message for a damaged header.
        _ if is_named("safetensors") => Ok(WeightLayout::SafeTensors),
        // A pickle of protocol 2 or above, or the name of the first member of a tar archive.
        [0x80, 2..=5, ..] => Err(WeightsError::Legacy { path: path.to_owned() }),
        _ if start.starts_with(b"storages") || start.starts_with(b"sys_info") || start.starts_with(b"./") => {
            Err(WeightsError::Legacy { path: path.to_owned() })
        }
        _ if is_named("bin") => {
            Err(WeightsError::malformed(path, "not a PyTorch file, or its start is damaged"))
        }
        _ => Err(WeightsError::Unrecognized { path: path.to_owned() }),
    }
}
