//! The index of sharded weights, which names the file of every tensor. Its form is the same for safetensors
//! and `.bin`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::WeightsError;
use crate::tensor::StoredTensor;

/// Content of an index. `metadata.total_size` is ignored, because it includes other tensors in many published
/// files.
#[derive(Deserialize)]
struct ShardIndexFile {
    weight_map: BTreeMap<String, String>,
}

/// Opens all files of an index with `open`, and checks that they contain the tensors of the index.
pub(crate) fn open_shards(
    path: &Path,
    open: impl Fn(&Path) -> Result<Vec<StoredTensor>, WeightsError>,
) -> Result<Vec<StoredTensor>, WeightsError> {
    let text = fs_err::read(path)?;
    let ShardIndexFile { weight_map } = serde_json::from_slice(&text)
        .map_err(|source| WeightsError::Index { path: path.to_owned(), source })?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in &weight_map {
        shards.entry(file).or_default().push(name);
    }
    // This check comes before any file is opened, so that an incomplete download isn't reported as damage.
    for (&file, names) in &shards {
        if !path_in_same_dir(path, file)?.is_file() {
            return Err(WeightsError::MissingShard {
                path: path.to_owned(),
                file: file.to_owned(),
                tensors: names.len(),
                first: names[0].to_owned(),
            });
        }
    }
    let mut tensors = Vec::new();
    for (&file, names) in &shards {
        let shard = open(&path_in_same_dir(path, file)?)?;
        if let Some(name) = names.iter().find(|&&name| !shard.iter().any(|tensor| tensor.key == name)) {
            let (path, name, file) = (path.to_owned(), (*name).to_owned(), file.to_owned());
            return Err(WeightsError::MissingTensor { path, name, file });
        }
        tensors.extend(shard);
    }
    Ok(tensors)
}

/// Returns the path of a file in the directory of the index.
fn path_in_same_dir(index: &Path, file: &str) -> Result<PathBuf, WeightsError> {
    let mut parts = Path::new(file).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => Ok(index.with_file_name(name)),
        _ => Err(WeightsError::OutsideDirectory { path: index.to_owned(), file: file.to_owned() }),
    }
}
