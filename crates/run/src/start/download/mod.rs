//! A run brought back from a store.

// Where it begins afterwards.
mod downloaded;

// How it is fetched.
#[cfg(not(feature = "storage"))]
mod disabled;
#[cfg(feature = "storage")]
mod enabled;

#[cfg(not(feature = "storage"))]
pub(crate) use disabled::download_run;
pub(crate) use downloaded::DownloadedRun;
#[cfg(feature = "storage")]
pub(crate) use enabled::download_run;
