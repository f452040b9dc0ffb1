//! A run's copy elsewhere, kept up while it trains (`[storage]`).

#[cfg(not(feature = "storage"))]
mod disabled;
#[cfg(feature = "storage")]
mod enabled;

#[cfg(not(feature = "storage"))]
pub(crate) use disabled::RunUploader;
#[cfg(feature = "storage")]
pub(crate) use enabled::RunUploader;
