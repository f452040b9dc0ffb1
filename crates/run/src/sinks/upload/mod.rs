//! Uploads of checkpoints and logs to remote storage while a run trains (`[storage]`).

#[cfg(not(feature = "storage"))]
mod disabled;
#[cfg(feature = "storage")]
mod enabled;

#[cfg(not(feature = "storage"))]
pub(crate) use disabled::RunUploader;
#[cfg(feature = "storage")]
pub(crate) use enabled::RunUploader;
