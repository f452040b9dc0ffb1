//! Downloaded weights that a run starts from.

use std::path::PathBuf;

/// A downloaded model of the hub, which `init.from = "hf://..."` names. The caller finds it.
#[derive(Clone, Debug)]
pub struct FetchedWeights {
    /// Directory of the model.
    pub dir: PathBuf,
    /// Commit of its repository.
    pub commit: String,
}
