//! Contents of a checkpoint, from its headers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_weights::{IgnoredEntry, WeightFiles, WeightLayout};
use serde::Serialize;

use crate::conversion::companions;
use crate::llama::LlamaConfig;
use crate::weights::{ModelWeightsError, TensorMismatch, tensor_mismatch};

/// Contents of a checkpoint's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Layout of the files.
    pub layout: WeightLayout,
    /// All tensors, sorted by name, with layers in numeric order.
    pub tensors: Vec<InspectedTensor>,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<String, usize>,
    /// Total number of values.
    pub parameters: u64,
    /// Total size of the tensors in bytes.
    pub bytes: u64,
    /// Other contents of the files, and tensors that no model reads.
    pub ignored: Vec<IgnoredEntry>,
    /// Parameters of the model that the files lack. Empty without a configuration.
    pub missing: Vec<String>,
    /// Tensors that the model doesn't have. Empty without a configuration.
    pub unexpected: Vec<String>,
    /// Tokenizer and other files next to the weights that belong to the model.
    pub companions: Vec<String>,
}

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedTensor {
    /// Its name at Hugging Face.
    pub name: String,
    /// Its name in the file.
    pub key: String,
    /// Its shape at Hugging Face.
    pub shape: Vec<usize>,
    /// Its type, as named by safetensors (`F32`, `BF16`).
    pub dtype: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The file that contains it.
    pub file: PathBuf,
}

/// Lists the tensors of a directory or file in any layout. Reads headers only. With a configuration, compares
/// the tensors with the model's parameters.
///
/// # Errors
/// Returns [`ModelWeightsError::Files`] if no layout is recognized or a header is damaged, and
/// [`ModelWeightsError::Io`] if a file can't be read.
pub fn inspect(path: &Path, config: Option<&LlamaConfig>) -> Result<Inspection, ModelWeightsError> {
    let checkpoint = WeightFiles::open(path)?;
    let tensor = |tensor: &fineline_weights::StoredTensor| InspectedTensor {
        name: tensor.name.clone(),
        key: tensor.key.clone(),
        shape: tensor.shape.clone(),
        dtype: tensor.dtype.to_string(),
        bytes: tensor.bytes(),
        file: tensor.file.clone(),
    };
    let mut tensors: Vec<InspectedTensor> = checkpoint.tensors.values().map(tensor).collect();
    tensors.sort_by(|a, b| natural(&a.name).cmp(natural(&b.name)));
    let mut dtypes = BTreeMap::new();
    for tensor in &tensors {
        *dtypes.entry(tensor.dtype.clone()).or_default() += 1;
    }
    let TensorMismatch { missing, unexpected, ignored } = match config {
        Some(config) => tensor_mismatch(&checkpoint, config),
        None => TensorMismatch { missing: Vec::new(), unexpected: Vec::new(), ignored: checkpoint.ignored },
    };
    Ok(Inspection {
        layout: checkpoint.layout,
        parameters: checkpoint.tensors.values().map(|tensor| tensor.len() as u64).sum(),
        bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        tensors,
        dtypes,
        ignored,
        missing,
        unexpected,
        companions: companions(path),
    })
}

/// Splits a name into parts, with numbers as numbers: layer 2 sorts before layer 10.
fn natural(name: &str) -> impl Iterator<Item = (Option<u64>, &str)> {
    name.split('.').map(|part| (part.parse().ok(), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_in_the_order_of_their_numbers() {
        let mut names = ["layers.10.b", "layers.2.b", "layers.2.a", "embed", "layers.1.c"];
        names.sort_by(|a, b| natural(a).cmp(natural(b)));
        assert_eq!(names, ["embed", "layers.1.c", "layers.2.a", "layers.2.b", "layers.10.b"]);
    }
}
