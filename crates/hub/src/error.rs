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
    #[error("`{name}` is no repository of the hub: expected `organization/name`")]
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
    #[error("{what} isn't here, and HF_HUB_OFFLINE forbids to fetch it")]
    Offline {
        /// Description of the missing item.
        what: String,
    },
    /// The repository doesn't exist, or isn't visible with this token.
    #[error("{endpoint} has no repository {name}, or not for {}", asker(*has_token))]
    NoRepository {
        /// The hub.
        endpoint: String,
        /// The repository.
        name: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The repository has no such revision.
    #[error("{name} has no revision `{revision}`")]
    NoRevision {
        /// The repository.
        name: String,
        /// The revision.
        revision: String,
    },
    /// The repository requires accepting its terms.
    #[error("{name} is not for everyone: accept its terms at {endpoint}/{name}, and {}", advice(*has_token))]
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
    #[error("{url}: the hub answers {status}, also at attempt {attempts}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status code.
        status: u16,
        /// Number of attempts.
        attempts: u32,
    },
    /// The hub requests a delay longer than the maximum.
    #[error("{url}: too many requests; the hub asks to wait {} s", wait.as_secs())]
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
    #[error("{url}: the hub's answer can't be read: {message}")]
    InvalidResponse {
        /// The address.
        url: String,
        /// The reason.
        message: String,
    },
    /// The repository has no weights in a supported format.
    #[error(
        "{name} at {commit} has no weights in its root: expected model*.safetensors, pytorch_model*.bin, or a file of EasyLM's"
    )]
    NoWeights {
        /// The repository.
        name: String,
        /// The commit.
        commit: String,
    },
    /// A model isn't on disk, or is incomplete.
    #[error("{address} isn't in {models}: fetch it first, with `fineline weights fetch {address} --out {models}`", models = models.display())]
    NotFetched {
        /// The model.
        address: String,
        /// The directory of models.
        models: PathBuf,
    },
    /// The disk has too little free space.
    #[error("{directory}: needs {needed} bytes more, but the disk has {free} left; nothing was fetched", directory = directory.display())]
    InsufficientSpace {
        /// The destination directory.
        directory: PathBuf,
        /// Number of bytes to download.
        needed: u64,
        /// Number of free bytes.
        free: u64,
    },
    /// A file's size differs from the listing.
    #[error("{url}: expected {expected} bytes, but there are {found}; nothing of it is kept")]
    WrongSize {
        /// Its address.
        url: String,
        /// Size in the listing.
        expected: u64,
        /// Actual size.
        found: u64,
    },
    /// A file's hash differs from the listing.
    #[error("{url}: expected the hash {expected}, found {found}; nothing of it is kept")]
    WrongHash {
        /// Its address.
        url: String,
        /// Hash in the listing.
        expected: String,
        /// Actual hash.
        found: String,
    },
    /// The data set has no such configuration.
    #[error("{name} has no configuration `{asked}`{hint}; it has {}", known.join(", "))]
    NoConfig {
        /// The data set.
        name: String,
        /// The configuration.
        asked: String,
        /// A suggestion in parentheses, or empty.
        hint: String,
        /// The existing configurations.
        known: Vec<String>,
    },
    /// The data set has several configurations, and none was selected.
    #[error("{name} has several configurations: name one of {}", known.join(", "))]
    SeveralConfigs {
        /// The data set.
        name: String,
        /// The existing configurations.
        known: Vec<String>,
    },
    /// The configuration has no such split.
    #[error("{name}, configuration `{config}`: no split `{asked}`{hint}; it has {}", known.join(", "))]
    NoSplit {
        /// The data set.
        name: String,
        /// The configuration.
        config: String,
        /// The split.
        asked: String,
        /// A suggestion in parentheses, or empty.
        hint: String,
        /// The existing splits.
        known: Vec<String>,
    },
    /// The data set has no files in a supported format.
    #[error("{name} has no Parquet, JSON lines or CSV files{}", because(*has_script))]
    NoData {
        /// The data set.
        name: String,
        /// Whether a script defines its records.
        has_script: bool,
    },
    /// The files of a split have different formats.
    #[error("{name}: the files of `{config}/{split}` have several forms: {}", forms.join(", "))]
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
    #[error("{}: another process fetches into this directory", directory.display())]
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

fn asker(has_token: bool) -> &'static str {
    if has_token { "the owner of HF_TOKEN" } else { "everyone: HF_TOKEN can say who asks" }
}

fn advice(has_token: bool) -> &'static str {
    if has_token { "check whose token HF_TOKEN holds" } else { "set HF_TOKEN" }
}

fn because(has_script: bool) -> &'static str {
    if has_script { ": a program makes its records, and it isn't run here" } else { "" }
}

/// Returns ` (did you mean ...?)` if a known name is similar to `name`.
pub(crate) fn nearest_hint(name: &str, known: &[String]) -> String {
    let distance = |candidate: &String| (strsim::damerau_levenshtein(name, candidate), candidate.clone());
    let is_near = |(distance, candidate): &(usize, String)| {
        *distance <= candidate.chars().count().max(name.chars().count()) / 2
    };
    known
        .iter()
        .map(distance)
        .filter(is_near)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean `{candidate}`?)"))
}
