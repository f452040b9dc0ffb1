//! The state that the caller requests to start from.

use std::path::PathBuf;

/// The state to start from.
#[derive(Clone, Debug, Default)]
pub enum ResumeRequest {
    /// The newest complete checkpoint, or step 0 if there is none.
    #[default]
    Auto,
    /// Step 0, in a directory without a run.
    Never,
    /// This checkpoint.
    From(PathBuf),
    /// The run at this address in remote storage, or one of its checkpoints. It is downloaded into the
    /// directory of the run.
    FromUrl(String),
}
