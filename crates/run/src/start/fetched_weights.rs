//! A model of the hub that a run starts from.

use std::path::PathBuf;

/// A model of the hub on this disk: what `init.from = "hf://..."` stands for. Whoever knows the hub finds it.
#[derive(Clone, Debug)]
pub struct FetchedWeights {
    /// Its folder.
    pub folder: PathBuf,
    /// The commit of its repository.
    pub commit: String,
}
