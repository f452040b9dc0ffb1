//! Where a run is asked to begin.

use std::path::PathBuf;

/// Where a run begins.
#[derive(Clone, Debug, Default)]
pub enum ResumeRequest {
    /// From the newest whole checkpoint; from the start if there is none.
    #[default]
    Auto,
    /// From the start, in a folder that has no run.
    Never,
    /// From this checkpoint.
    From(PathBuf),
    /// From the run in a store, or one of its checkpoints, by its address: it is fetched into the run's folder.
    FromUrl(String),
}
