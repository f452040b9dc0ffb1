//! Errors of fetching from a hub.

use std::path::PathBuf;
use std::time::Duration;

use fineline_diagnostics::{Classified, ErrorClass};

/// Errors of fetching from a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A file can't be read or written. The message contains the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The name isn't a valid repository name.
    #[error("`{name}` isn't a valid repository name, expected `organization/name`")]
    InvalidName {
        /// The given name.
        name: String,
    },
    /// An environment variable is invalid.
    #[error("{variable}: expected {expected}")]
    InvalidEnvironment {
        /// Its name. The value isn't shown, since it may be a token.
        variable: &'static str,
        /// The expected value.
        expected: &'static str,
    },
    /// The network is needed, but disabled.
    #[error("{what}: not on disk, and HF_HUB_OFFLINE disables downloads; unset it")]
    Offline {
        /// Description of the missing item.
        what: String,
    },
    /// The repository doesn't exist, or isn't visible with this token.
    #[error("{endpoint}: no repository {name}, or it isn't visible {}", token_clause(*has_token))]
    NoRepository {
        /// The hub.
        endpoint: String,
        /// The repository.
        name: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The repository has no such revision.
    #[error("{name}: no revision `{revision}`")]
    NoRevision {
        /// The repository.
        name: String,
        /// The revision.
        revision: String,
    },
    /// The repository requires accepting its terms.
    #[error(
        "{name}: access requires accepting its terms at {endpoint}/{name}; then {}",
        token_advice(*has_token)
    )]
    Gated {
        /// The hub.
        endpoint: String,
        /// The repository, with the prefix `datasets/` for data sets.
        name: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The file no longer exists in the repository.
    #[error("{url}: no such file")]
    NoFile {
        /// Its address.
        url: String,
    },
    /// The hub responded with an unexpected status.
    #[error("{url}: the hub responded with status {status} (attempt {attempts})")]
    Status {
        /// The address.
        url: String,
        /// HTTP status code.
        status: u16,
        /// Number of attempts.
        attempts: u32,
    },
    /// The hub requests a delay longer than the maximum.
    #[error("{url}: too many requests; the hub requests a delay of {} s", wait.as_secs())]
    TooManyRequests {
        /// The address.
        url: String,
        /// The requested delay.
        wait: Duration,
    },
    /// The network failed.
    #[error("{url}: {source} (attempt {attempts})")]
    Network {
        /// The address.
        url: String,
        /// Number of attempts.
        attempts: u32,
        /// The client's error.
        source: Box<ureq::Error>,
    },
    /// A response is invalid.
    #[error("{url}: invalid response: {message}")]
    InvalidResponse {
        /// The address.
        url: String,
        /// The reason.
        message: String,
    },
    /// The repository has no weights in a supported format.
    #[error(
        "{name} at {commit}: no weights at the top level, \
         expected model*.safetensors, pytorch_model*.bin, or an EasyLM file"
    )]
    NoWeights {
        /// The repository.
        name: String,
        /// The commit.
        commit: String,
    },
    /// A model isn't on disk, or is incomplete.
    #[error(
        "{address}: not in {models}; fetch it with `fineline weights fetch {address} --out {models}`",
        models = models.display()
    )]
    NotFetched {
        /// The model.
        address: String,
        /// The directory of models.
        models: PathBuf,
    },
    /// The disk has too little free space.
    #[error(
        "{directory}: {needed} bytes are needed, but only {free} are free; nothing was downloaded",
        directory = directory.display()
    )]
    InsufficientSpace {
        /// The destination directory.
        directory: PathBuf,
        /// Number of bytes to download.
        needed: u64,
        /// Number of free bytes.
        free: u64,
    },
    /// A file's size differs from the listing.
    #[error("{url}: expected {expected} bytes, found {found}; the file was discarded")]
    WrongSize {
        /// Its address.
        url: String,
        /// Size in the listing.
        expected: u64,
        /// Actual size.
        found: u64,
    },
    /// A file's hash differs from the listing.
    #[error("{url}: expected hash {expected}, found {found}; the file was discarded")]
    WrongHash {
        /// Its address.
        url: String,
        /// Hash in the listing.
        expected: String,
        /// Actual hash.
        found: String,
    },
    /// The data set has no such configuration.
    #[error("{name}: no configuration `{requested}`{hint}, expected one of {}", known.join(", "))]
    NoConfig {
        /// The data set.
        name: String,
        /// The configuration.
        requested: String,
        /// A suggestion in parentheses, or empty.
        hint: String,
        /// The existing configurations.
        known: Vec<String>,
    },
    /// The data set has several configurations, and none was selected.
    #[error("{name}: several configurations; select one of {}", known.join(", "))]
    SeveralConfigs {
        /// The data set.
        name: String,
        /// The existing configurations.
        known: Vec<String>,
    },
    /// The configuration has no such split.
    #[error(
        "{name}, configuration `{config}`: no split `{requested}`{hint}, expected one of {}",
        known.join(", ")
    )]
    NoSplit {
        /// The data set.
        name: String,
        /// The configuration.
        config: String,
        /// The split.
        requested: String,
        /// A suggestion in parentheses, or empty.
        hint: String,
        /// The existing splits.
        known: Vec<String>,
    },
    /// The data set has no files in a supported format.
    #[error("{name}: no Parquet, JSON lines or CSV files{}", because(*has_script))]
    NoData {
        /// The data set.
        name: String,
        /// Whether a script defines its records.
        has_script: bool,
    },
    /// The files of a split have different formats.
    #[error("{name}: the files of `{config}/{split}` have several formats: {}", forms.join(", "))]
    MixedForms {
        /// The data set.
        name: String,
        /// The configuration.
        config: String,
        /// The split.
        split: String,
        /// Their extensions.
        forms: Vec<String>,
    },
    /// A file on disk isn't valid JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// Another process downloads into the same directory.
    #[error("{}: another process is downloading into this directory", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
}

impl Classified for HubError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::InvalidName { .. }
            | Self::InvalidEnvironment { .. }
            | Self::NoRevision { .. }
            | Self::NoWeights { .. }
            | Self::NoConfig { .. }
            | Self::SeveralConfigs { .. }
            | Self::NoSplit { .. } => ErrorClass::Usage,
            _ => ErrorClass::Environment,
        }
    }
}

fn token_clause(has_token: bool) -> &'static str {
    if has_token { "with this HF_TOKEN" } else { "without a token; set HF_TOKEN if it is private" }
}

fn token_advice(has_token: bool) -> &'static str {
    if has_token { "check that HF_TOKEN belongs to your account" } else { "set HF_TOKEN" }
}

fn because(has_script: bool) -> &'static str {
    if has_script { "; its records are defined by a script, which isn't supported" } else { "" }
}
