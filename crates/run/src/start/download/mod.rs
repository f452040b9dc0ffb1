//! Downloads of runs from remote storage.

// The result.
mod downloaded;

// The download.
#[cfg(not(feature = "storage"))]
mod disabled;
#[cfg(feature = "storage")]
mod enabled;

#[cfg(not(feature = "storage"))]
pub(crate) use disabled::download_run;
pub(crate) use downloaded::DownloadedRun;
#[cfg(feature = "storage")]
pub(crate) use enabled::download_run;
