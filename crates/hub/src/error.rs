use std::path::PathBuf;
use std::time::Duration;

use fineline_diagnostics::{Classified, ErrorClass};

/// What can go wrong between the hub and the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No repository can have this name.
    #[error("`{name}` is no repository of the hub: expected `organization/name`")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// A variable of the environment can't be used.
    #[error("{variable}: expected {expected}")]
    InvalidEnvironment {
        /// Its name; a token is nobody's business.
        variable: &'static str,
        /// What can be.
        expected: &'static str,
    },
    /// Something would have to be asked of the network, which is switched off.
    #[error("{what} isn't here, and HF_HUB_OFFLINE forbids to fetch it")]
    Offline {
        /// What it is.
        what: String,
    },
    /// There is no such repository, or it is hidden from whoever asks.
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
    /// The repository is only for those who have accepted its terms.
    #[error("{name} is not for everyone: accept its terms at {endpoint}/{name}, and {}", advice(*has_token))]
    Gated {
        /// The hub.
        endpoint: String,
        /// The repository, with `datasets/` before data sets.
        name: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The repository has no such file any more.
    #[error("{url}: no such file")]
    NoFile {
        /// Its address.
        url: String,
    },
    /// The hub answers with something other than what was asked for.
    #[error("{url}: the hub answers {status}, also at attempt {attempts}")]
    Status {
        /// The address.
        url: String,
        /// The status code of HTTP.
        status: u16,
        /// Attempts made.
        attempts: u32,
    },
    /// The hub wants to be left alone for longer than anyone would wait.
    #[error("{url}: too many requests; the hub asks to wait {} s", wait.as_secs())]
    TooManyRequests {
        /// The address.
        url: String,
        /// The wait that it asks for.
        wait: Duration,
    },
    /// The network fails.
    #[error("{url}: {source} (attempt {attempts})")]
    Network {
        /// The address.
        url: String,
        /// Attempts made.
        attempts: u32,
        /// What failed.
        source: Box<ureq::Error>,
    },
    /// An answer can't be read.
    #[error("{url}: the hub's answer can't be read: {message}")]
    InvalidResponse {
        /// The address.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The repository has no weights in a format that is read here.
    #[error(
        "{name} at {commit} has no weights in its root: expected model*.safetensors, pytorch_model*.bin, or a file of EasyLM's"
    )]
    NoWeights {
        /// The repository.
        name: String,
        /// The commit.
        commit: String,
    },
    /// A model isn't on the disk, or not whole.
    #[error("{address} isn't in {models}: fetch it first, with `fineline weights fetch {address} --out {models}`", models = models.display())]
    NotFetched {
        /// The model.
        address: String,
        /// The folder of models.
        models: PathBuf,
    },
    /// The disk has too little room.
    #[error("{directory}: needs {needed} bytes more, but the disk has {free} left; nothing was fetched", directory = directory.display())]
    InsufficientSpace {
        /// Where to.
        directory: PathBuf,
        /// Bytes that are missing.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A file has another size than the hub said.
    #[error("{url}: expected {expected} bytes, but there are {found}; nothing of it is kept")]
    WrongSize {
        /// Its address.
        url: String,
        /// Bytes that the listing names.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A file has another content than the hub said.
    #[error("{url}: expected the hash {expected}, found {found}; nothing of it is kept")]
    WrongHash {
        /// Its address.
        url: String,
        /// The hash that the listing names.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// A data set has no such configuration.
    #[error("{name} has no configuration `{asked}`{hint}; it has {}", known.join(", "))]
    NoConfig {
        /// The data set.
        name: String,
        /// The configuration.
        asked: String,
        /// The nearest there is, in parentheses.
        hint: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A data set has several configurations, and none was named.
    #[error("{name} has several configurations: name one of {}", known.join(", "))]
    SeveralConfigs {
        /// The data set.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A configuration has no such split.
    #[error("{name}, configuration `{config}`: no split `{asked}`{hint}; it has {}", known.join(", "))]
    NoSplit {
        /// The data set.
        name: String,
        /// The configuration.
        config: String,
        /// The split.
        asked: String,
        /// The nearest there is, in parentheses.
        hint: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A data set has no files that hold records in a form that is known.
    #[error("{name} has no Parquet, JSON lines or CSV files{}", because(*has_script))]
    NoData {
        /// The data set.
        name: String,
        /// Whether a program makes its records.
        has_script: bool,
    },
    /// The files of a split have different forms.
    #[error("{name}: the files of `{config}/{split}` have several forms: {}", forms.join(", "))]
    MixedForms {
        /// The data set.
        name: String,
        /// The configuration.
        config: String,
        /// The split.
        split: String,
        /// Their endings.
        forms: Vec<String>,
    },
    /// A file on the disk isn't the JSON that it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Another process fetches into the same folder.
    #[error("{}: another process fetches into this directory", directory.display())]
    Locked {
        /// The folder.
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

/// ` (did you mean ...?)`, if one of `known` is near `name`.
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
