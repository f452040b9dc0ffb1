//! Data sets on disk: `org__name/CONFIG/SPLIT.parquet`, and `fetched.json` with the origin of the files.

use std::path::{Path, PathBuf};

use fineline_files::{create_parent_directory, rename, write_atomically};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::client::Hub;
use crate::config::Access;
use crate::download::DownloadRequest;
use crate::error::HubError;
use crate::fetched::{FetchOutcome, FetchedFile};
use crate::layout::{DatasetLayout, form};
use crate::lock::DirectoryLock;
use crate::repository::{MAIN, RemoteFile, Repository, Snapshot};

/// Revision with the hub's automatic conversions to Parquet, including those of data sets defined by a
/// script.
const CONVERTED: &str = "refs/convert/parquet";

/// The part of a data set to fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatasetRequest {
    /// Repository of the data set.
    pub repository: Repository,
    /// The configuration. `None` selects the only one, or `default`.
    pub config: Option<String>,
    /// The split. `None` selects all.
    pub split: Option<String>,
    /// A branch, a tag or a commit. `None` selects `main`, or if it has no data files, the hub's own
    /// conversion.
    pub revision: Option<String>,
}

/// The splits that are now on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedDataset {
    /// The directory `org__name` below the requested one.
    pub directory: PathBuf,
    /// The splits, sorted, and whether each was downloaded.
    pub splits: Vec<(FetchedSplit, FetchOutcome)>,
}

/// A split on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedSplit {
    /// The configuration.
    pub config: String,
    /// The split.
    pub split: String,
    /// The requested revision.
    pub revision: String,
    /// Commit of the revision.
    pub commit: String,
    /// Time of the download.
    pub fetched: jiff::Timestamp,
    /// Its files, in order.
    pub files: Vec<FetchedFile>,
}

/// Contents of `fetched.json`.
#[derive(Debug, Serialize, Deserialize)]
struct DatasetRecord {
    repository: String,
    splits: Vec<FetchedSplit>,
}

/// Downloads splits of a data set into `out`, unless they are up to date. Calls `progress` with a file's
/// name, the bytes received and the total.
///
/// # Errors
/// Returns [`HubError::NoConfig`], [`HubError::SeveralConfigs`] or [`HubError::NoSplit`] if the selection
/// doesn't match the data set, [`HubError::NoData`] or [`HubError::MixedForms`] if its files can't be used,
/// [`HubError::Locked`] if another process writes to the directory, and otherwise as [`Hub::snapshot`] and
/// [`Hub::download`].
pub fn fetch_dataset(
    hub: &Hub,
    request: &DatasetRequest,
    out: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<FetchedDataset, HubError> {
    let directory = out.join(request.repository.directory());
    let _lock = DirectoryLock::take(&directory)?;
    let mut record = DatasetRecord::open(&directory, &request.repository)?;
    if let Some(splits) = record.cached_splits(hub.config().access, request, &directory) {
        return Ok(FetchedDataset { directory, splits });
    }
    let (revision, snapshot, layout) = find(hub, request)?;
    let name = request.repository.name();
    let config = layout.config(name, request.config.as_deref())?;
    let mut splits = Vec::new();
    for (split, paths) in layout.splits(name, config, request.split.as_deref())? {
        let mut fetched = FetchedSplit {
            config: config.to_owned(),
            split: split.to_owned(),
            revision: revision.clone(),
            commit: snapshot.commit.clone(),
            fetched: jiff::Timestamp::now(),
            files: Vec::new(),
        };
        let remote: Vec<&RemoteFile> = paths.iter().filter_map(|path| snapshot.file(path)).collect();
        let known = record.split(config, split).filter(|known| known.holds(&remote, &directory)).cloned();
        let outcome = if let Some(known) = known {
            fetched.files = known.files;
            fetched.fetched = known.fetched;
            FetchOutcome::UpToDate
        } else {
            let target = SplitTarget { directory: &directory, config, split };
            fetched.files = target.fetch(hub, &snapshot, &remote, progress)?;
            FetchOutcome::Fetched
        };
        record.put(&directory, fetched.clone())?;
        splits.push((fetched, outcome));
    }
    Ok(FetchedDataset { directory, splits })
}

/// Resolves the revision, and finds its files and their layout.
fn find(hub: &Hub, request: &DatasetRequest) -> Result<(String, Snapshot, DatasetLayout), HubError> {
    let revision = request.revision.as_deref().unwrap_or(MAIN);
    let snapshot = hub.snapshot(&request.repository, revision)?;
    let layout = layout(hub, &snapshot)?;
    if !layout.is_empty() {
        return Ok((revision.to_owned(), snapshot, layout));
    }
    let has_script = snapshot
        .files
        .iter()
        .any(|file| Path::new(&file.path).extension().is_some_and(|ending| ending == "py"));
    let no_data = HubError::NoData { name: request.repository.to_string(), has_script };
    if request.revision.is_some() {
        return Err(no_data);
    }
    let converted = match hub.snapshot(&request.repository, CONVERTED) {
        Err(HubError::NoRevision { .. }) => return Err(no_data),
        converted => converted?,
    };
    let layout = self::layout(hub, &converted)?;
    if layout.is_empty() { Err(no_data) } else { Ok((CONVERTED.to_owned(), converted, layout)) }
}

fn layout(hub: &Hub, snapshot: &Snapshot) -> Result<DatasetLayout, HubError> {
    let readme = match snapshot.file("README.md") {
        Some(file) => String::from_utf8_lossy(&hub.read(snapshot, file)?).into_owned(),
        None => String::new(),
    };
    Ok(DatasetLayout::of(snapshot, &readme))
}

/// Directory of a split on disk.
struct SplitTarget<'a> {
    directory: &'a Path,
    config: &'a str,
    split: &'a str,
}

impl SplitTarget<'_> {
    /// Downloads one file to `CONFIG/SPLIT.parquet`, or several to `CONFIG/SPLIT/00000.parquet` and so on.
    /// Replaces earlier files.
    fn fetch(
        &self,
        hub: &Hub,
        snapshot: &Snapshot,
        files: &[&RemoteFile],
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<Vec<FetchedFile>, HubError> {
        let form = self.form(snapshot, files)?;
        let (config, split) = (directory_name(self.config), directory_name(self.split));
        let whole = PathBuf::from(&config).join(&split);
        let staged = PathBuf::from(&config).join(format!(".{split}.partial"));
        let mut fetched = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let name = format!("{index:05}.{form}");
            let (staged_path, path) = if files.len() == 1 {
                let path = PathBuf::from(&config).join(format!("{split}.{form}"));
                (path.clone(), path)
            } else {
                (staged.join(&name), whole.join(&name))
            };
            let size = file.size.unwrap_or_default();
            let to = self.directory.join(staged_path);
            let download = DownloadRequest { snapshot, file, to: &to };
            let sha256 = hub.download(download, &mut |bytes| progress(&file.path, bytes, size))?;
            let hub_hash = file.hash.as_ref().map(|hash| hash.hex().to_owned()).unwrap_or_default();
            fetched.push(FetchedFile { path, from: file.path.clone(), size, sha256, hub_hash });
        }
        self.remove_previous(&fetched)?;
        if files.len() > 1 {
            rename(&self.directory.join(staged), &self.directory.join(whole))?;
        }
        Ok(fetched)
    }

    fn form(&self, snapshot: &Snapshot, files: &[&RemoteFile]) -> Result<&'static str, HubError> {
        let mut forms: Vec<&str> = files.iter().filter_map(|file| form(&file.path)).collect();
        forms.sort_unstable();
        forms.dedup();
        match forms[..] {
            [form] => Ok(form),
            _ => Err(HubError::MixedForms {
                name: snapshot.repository.to_string(),
                config: self.config.to_owned(),
                split: self.split.to_owned(),
                forms: forms.into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    /// Removes the files of an earlier download of this split, in another format or with other shards.
    fn remove_previous(&self, fetched: &[FetchedFile]) -> Result<(), HubError> {
        let config = self.directory.join(directory_name(self.config));
        let split = directory_name(self.split);
        let kept: Vec<PathBuf> = fetched.iter().map(|file| self.directory.join(&file.path)).collect();
        for entry in fs::read_dir(&config)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_of_split = form(&name).is_some_and(|form| name == format!("{split}.{form}"));
            if is_of_split && !kept.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        if config.join(&split).is_dir() {
            fs::remove_dir_all(config.join(&split))?;
        }
        Ok(())
    }
}

/// Returns the directory name of a configuration or split.
fn directory_name(name: &str) -> String {
    let name = name.replace(['/', '\\'], "__");
    if name.starts_with('.') { format!("_{name}") } else { name }
}

impl FetchedSplit {
    /// Returns whether these files are on disk and up to date. Their contents were verified at download.
    fn holds(&self, remote: &[&RemoteFile], directory: &Path) -> bool {
        self.files.len() == remote.len()
            && self.files.iter().zip(remote).all(|(file, remote)| file.is(remote))
            && self.is_there(directory)
    }

    fn is_there(&self, directory: &Path) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.is_there(directory))
    }
}

impl DatasetRecord {
    fn open(directory: &Path, repository: &Repository) -> Result<Self, HubError> {
        let path = Self::path(directory);
        if !path.is_file() {
            return Ok(Self { repository: repository.to_string(), splits: Vec::new() });
        }
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text).map_err(|source| HubError::Json { path, source })
    }

    fn path(directory: &Path) -> PathBuf {
        directory.join("fetched.json")
    }

    fn split(&self, config: &str, split: &str) -> Option<&FetchedSplit> {
        self.splits.iter().find(|known| known.config == config && known.split == split)
    }

    /// Replaces the record of a split.
    fn put(&mut self, directory: &Path, split: FetchedSplit) -> Result<(), HubError> {
        self.splits.retain(|known| known.config != split.config || known.split != split.split);
        self.splits.push(split);
        self.splits.sort_by_cached_key(|split| (split.config.clone(), split.split.clone()));
        let path = Self::path(directory);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| HubError::Json { path: path.clone(), source })?;
        json.push(b'\n');
        create_parent_directory(&path)?;
        Ok(write_atomically(&path, &json)?)
    }

    /// Returns the requested splits if the hub needn't be contacted: a single split at a commit, which never
    /// changes, or anything on disk if the client is offline.
    fn cached_splits(
        &self,
        access: Access,
        request: &DatasetRequest,
        directory: &Path,
    ) -> Option<Vec<(FetchedSplit, FetchOutcome)>> {
        let matches = |requested: &Option<String>, value: &str| {
            requested.as_ref().is_none_or(|requested| requested == value)
        };
        let is_requested = |split: &&FetchedSplit| {
            let revision = &request.revision;
            matches(&request.config, &split.config)
                && matches(&request.split, &split.split)
                && (matches(revision, &split.commit) || matches(revision, &split.revision))
                && split.is_there(directory)
        };
        let found: Vec<_> = self
            .splits
            .iter()
            .filter(is_requested)
            .map(|split| (split.clone(), FetchOutcome::UpToDate))
            .collect();
        let is_fixed = found.len() == 1
            && request.split.is_some()
            && request.revision.as_ref() == Some(&found[0].0.commit);
        let is_enough = is_fixed || access == Access::Offline;
        (is_enough && !found.is_empty()).then_some(found)
    }
}
