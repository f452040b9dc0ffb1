//! Models on disk: `org__name/REVISION`, with the files of the model and `fetched.json` with their origin.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fineline_files::write_atomically;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::client::Hub;
use crate::config::Access;
use crate::download::DownloadRequest;
use crate::error::HubError;
use crate::fetched::{FetchOutcome, FetchedFile};
use crate::lock::DirectoryLock;
use crate::repository::{MAIN, RemoteFile, Repository, RepositoryKind, Snapshot};

/// Prefix of model addresses.
const SCHEME: &str = "hf://";

/// Address of a model on the hub, `hf://org/name@revision`. The default revision is `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAddress {
    /// Repository of the model.
    pub repository: Repository,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl ModelAddress {
    /// Returns whether a text is a model address, rather than a path.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Returns the directory of the model below the directory of models.
    #[must_use]
    pub fn directory(&self, models: &Path) -> PathBuf {
        models.join(self.repository.directory()).join(self.revision.replace(['/', '\\'], "__"))
    }
}

impl FromStr for ModelAddress {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let (name, revision) = name.split_once('@').unwrap_or((name, MAIN));
        if revision.is_empty() || revision.starts_with('.') {
            return Err(HubError::InvalidName { name: text.to_owned() });
        }
        Ok(Self { repository: Repository::new(RepositoryKind::Model, name)?, revision: revision.to_owned() })
    }
}

impl fmt::Display for ModelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@{}", self.repository, self.revision)
    }
}

/// A model downloaded by [`fetch_model`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedModel {
    /// The repository, as `org/name`.
    pub repository: String,
    /// The requested revision.
    pub revision: String,
    /// Commit of the revision.
    pub commit: String,
    /// Time of the download.
    pub fetched: jiff::Timestamp,
    /// Its files, sorted by path.
    pub files: Vec<FetchedFile>,
}

/// Check of a previously downloaded model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelCheck {
    /// Compares the sizes of its files, whose contents were verified at download.
    BySize,
    /// Also verifies the contents of its files, which reads them and contacts the hub.
    ByContent,
}

/// Downloads a model into its directory below `models`, unless it is up to date. If there are weights in
/// several formats, downloads the first of safetensors, PyTorch and EasyLM. Calls `progress` with a file's
/// name, the bytes received and the total.
///
/// # Errors
/// Returns [`HubError::NoWeights`] if the repository has no weights in a supported format,
/// [`HubError::InsufficientSpace`] if the disk is too small, [`HubError::Locked`] if another process writes
/// to the directory, and otherwise as [`Hub::snapshot`] and [`Hub::download`].
pub fn fetch_model(
    hub: &Hub,
    address: &ModelAddress,
    models: &Path,
    known_by: ModelCheck,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(PathBuf, FetchedModel, FetchOutcome), HubError> {
    let directory = address.directory(models);
    let _lock = DirectoryLock::take(&directory)?;
    let known = match known_by {
        ModelCheck::BySize => FetchedModel::open(&directory)?.filter(|known| known.is_there(&directory)),
        // Downloads verify existing files.
        ModelCheck::ByContent => None,
    };
    if let Some(known) = &known {
        let is_fixed = known.commit == address.revision || hub.config().access == Access::Offline;
        if is_fixed {
            return Ok((directory, known.clone(), FetchOutcome::UpToDate));
        }
    }
    let snapshot = hub.snapshot(&address.repository, &address.revision)?;
    let remote = files_of_model(&snapshot)?;
    if let Some(known) = known.filter(|known| known.holds(&remote)) {
        return Ok((directory, known, FetchOutcome::UpToDate));
    }
    check_free_space(&directory, &remote)?;
    remove_record(&directory)?;
    let mut files = Vec::with_capacity(remote.len());
    let mut outcome = FetchOutcome::UpToDate;
    for file in remote {
        let size = file.size.unwrap_or_default();
        let download = DownloadRequest { snapshot: &snapshot, file, to: &directory.join(&file.path) };
        let sha256 = hub.download(download, &mut |bytes| {
            outcome = FetchOutcome::Fetched;
            progress(&file.path, bytes, size);
        })?;
        let hub_hash = file.hash.as_ref().map(|hash| hash.hex().to_owned()).unwrap_or_default();
        let (path, from) = (PathBuf::from(&file.path), file.path.clone());
        files.push(FetchedFile { path, from, size, sha256, hub_hash });
    }
    let fetched = FetchedModel {
        repository: address.repository.to_string(),
        revision: address.revision.clone(),
        commit: snapshot.commit,
        fetched: jiff::Timestamp::now(),
        files,
    };
    fetched.write(&directory)?;
    Ok((directory, fetched, outcome))
}

/// Finds a downloaded model, without contacting the hub.
///
/// # Errors
/// Returns [`HubError::NotFetched`], which names the command to fetch it, if the model isn't on disk or is
/// incomplete, and [`HubError::Json`] or [`HubError::Io`] if its record can't be read.
pub fn find_model(address: &ModelAddress, models: &Path) -> Result<(PathBuf, FetchedModel), HubError> {
    let directory = address.directory(models);
    match FetchedModel::open(&directory)?.filter(|known| known.is_there(&directory)) {
        Some(known) => Ok((directory, known)),
        None => Err(HubError::NotFetched { address: address.to_string(), models: models.to_owned() }),
    }
}

/// Selects the files of a model: configuration, tokenizer, and weights in one format.
fn files_of_model(snapshot: &Snapshot) -> Result<Vec<&RemoteFile>, HubError> {
    let in_root = || snapshot.files.iter().filter(|file| !file.path.contains('/'));
    let sharded = |name: &str, stem: &str, ending: &str| {
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(".index.json").or(Some(rest)));
        rest.is_some_and(|rest| rest.ends_with(ending))
    };
    let is_safetensors = |name: &str| sharded(name, "model", ".safetensors");
    let is_pytorch = |name: &str| sharded(name, "pytorch_model", ".bin");
    let is_easylm = |name: &str| {
        name.ends_with("_easylm")
            || ["streaming_params", "streaming_train_state"].iter().any(|stem| name.starts_with(stem))
    };
    let formats: [&dyn Fn(&str) -> bool; 3] = [&is_safetensors, &is_pytorch, &is_easylm];
    let weights = formats.into_iter().find(|is_one| in_root().any(|file| is_one(&file.path)));
    let Some(is_weights) = weights else {
        return Err(HubError::NoWeights {
            name: snapshot.repository.to_string(),
            commit: snapshot.commit.clone(),
        });
    };
    let is_wanted = |file: &&RemoteFile| is_weights(&file.path) || is_description(&file.path);
    Ok(in_root().filter(is_wanted).collect())
}

/// Returns whether a file describes a model or its tokenizer.
fn is_description(name: &str) -> bool {
    let is_index = name.ends_with(".index.json");
    let is_text = [".json", ".model", ".txt", ".jinja"].iter().any(|ending| name.ends_with(ending));
    (is_text && !is_index && !name.starts_with("eval_")) || name.starts_with("LICENSE")
}

/// Checks that the disk has space for the missing bytes. Existing files, complete or partial, need no more
/// space.
fn check_free_space(directory: &Path, files: &[&RemoteFile]) -> Result<(), HubError> {
    let whole: u64 = files.iter().filter_map(|file| file.size).sum();
    let mut there = 0;
    for entry in fs::read_dir(directory)? {
        there += entry?.metadata()?.len();
    }
    let (needed, free) = (whole.saturating_sub(there), fineline_files::free_space(directory)?);
    if needed > free {
        return Err(HubError::InsufficientSpace { directory: directory.to_owned(), needed, free });
    }
    Ok(())
}

/// Removes the record, since a directory whose files are being replaced isn't a complete model.
fn remove_record(directory: &Path) -> Result<(), HubError> {
    let path = FetchedModel::path(directory);
    if path.is_file() {
        fs::remove_file(path)?;
    }
    Ok(())
}

impl FetchedModel {
    fn path(directory: &Path) -> PathBuf {
        directory.join("fetched.json")
    }

    /// Reads the record of the model in a directory. Returns `None` if there is no complete model.
    ///
    /// # Errors
    /// Returns [`HubError::Io`] or [`HubError::Json`] if the record can't be read.
    pub fn open(directory: &Path) -> Result<Option<Self>, HubError> {
        let path = Self::path(directory);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text).map(Some).map_err(|source| HubError::Json { path, source })
    }

    fn write(&self, directory: &Path) -> Result<(), HubError> {
        let path = Self::path(directory);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| HubError::Json { path: path.clone(), source })?;
        json.push(b'\n');
        Ok(write_atomically(&path, &json)?)
    }

    /// Returns whether its files are on disk with their sizes. Their contents were verified at download.
    fn is_there(&self, directory: &Path) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.is_there(directory))
    }

    /// Returns whether its files are the ones that the hub lists.
    fn holds(&self, remote: &[&RemoteFile]) -> bool {
        self.files.len() == remote.len()
            && self.files.iter().zip(remote).all(|(file, remote)| file.is(remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(names: &[&str]) -> Snapshot {
        let repository = Repository::new(RepositoryKind::Model, "org/model").expect("a name");
        let file = |name: &&str| RemoteFile { path: (*name).to_owned(), size: Some(1), hash: None };
        Snapshot { repository, commit: "c0ffee".into(), files: names.iter().map(file).collect() }
    }

    fn chosen(names: &[&str]) -> Vec<String> {
        let snapshot = snapshot(names);
        files_of_model(&snapshot).expect("weights").iter().map(|file| file.path.clone()).collect()
    }

    #[test]
    fn addresses_name_a_repository_and_a_revision() {
        let address: ModelAddress = "hf://LLM360/Amber@ckpt_100".parse().expect("an address");
        assert_eq!(address.directory(Path::new("models")), Path::new("models/LLM360__Amber/ckpt_100"));
        assert_eq!(address.to_string(), "hf://LLM360/Amber@ckpt_100");
        let main: ModelAddress = "gpt2".parse().expect("an address");
        assert_eq!(main.to_string(), "hf://gpt2@main");
        let pull: ModelAddress = "hf://a/b@refs/pr/1".parse().expect("an address");
        assert_eq!(pull.directory(Path::new("m")), Path::new("m/a__b/refs__pr__1"));
        for wrong in ["hf://", "hf://a/b@", "hf://a/b/c", "hf://a/b@../../x", "hf://../a"] {
            assert!(wrong.parse::<ModelAddress>().is_err(), "{wrong}");
        }
        assert!(ModelAddress::is_one("hf://a/b") && !ModelAddress::is_one("a/b"));
    }

    #[test]
    fn weights_are_taken_in_one_format() {
        let both = [
            "README.md",
            "config.json",
            "eval_arc.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.model",
        ];
        assert_eq!(chosen(&both), ["config.json", "model.safetensors", "tokenizer.model"]);
        let shards = [
            "config.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
            "onnx/model.safetensors",
        ];
        assert_eq!(chosen(&shards), shards[..4]);
        assert_eq!(
            chosen(&["open_llama_7b_easylm", "tokenizer.model", "tokenizer.vocab"]),
            ["open_llama_7b_easylm", "tokenizer.model"]
        );
        let nothing = files_of_model(&snapshot(&["config.json", "optimizer.bin"])).expect_err("no weights");
        assert!(nothing.to_string().starts_with("org/model at c0ffee: no weights"), "{nothing}");
    }
}
