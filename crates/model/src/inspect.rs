use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::weights::{StoredAt, WeightsError, stored};

/// What a checkpoint's files hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Every tensor, by name, with layers in the order of their numbers.
    pub tensors: Vec<StoredTensor>,
    /// Values in all tensors together.
    pub parameters: u64,
    /// Bytes of all tensors together.
    pub bytes: u64,
}

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type, in the words of safetensors (`F32`, `BF16`).
    pub dtype: String,
    /// Its size.
    pub bytes: u64,
    /// The file it is in.
    pub file: PathBuf,
}

/// Lists the tensors in a model directory, whatever model it is; only headers are read.
pub fn inspect(dir: &Path) -> Result<Inspection, WeightsError> {
    let tensor = |(name, StoredAt { path, dtype, shape, bytes })| StoredTensor {
        name,
        shape,
        dtype: dtype.to_string(),
        bytes: bytes.end - bytes.start,
        file: path,
    };
    let mut found: Vec<StoredTensor> = stored(dir)?.into_iter().map(tensor).collect();
    found.sort_by(|a, b| natural(&a.name).cmp(natural(&b.name)));
    let parameters = found.iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum();
    let bytes = found.iter().map(|tensor| tensor.bytes).sum();
    Ok(Inspection { tensors: found, parameters, bytes })
}

/// The parts of a name, numbers as numbers: layer 2 comes before layer 10.
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
