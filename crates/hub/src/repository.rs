//! Repositories, revisions and their files.

use std::fmt;

use serde::Deserialize;

use crate::error::HubError;
use crate::hash::FileHash;

/// Default revision.
pub(crate) const MAIN: &str = "main";

/// A repository of the hub, `org/name`. A few old ones have no organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Kind of its contents.
    pub kind: RepositoryKind,
    name: String,
}

/// Kind of a repository. The hub has a name space for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositoryKind {
    /// A data set.
    Dataset,
    /// A model.
    Model,
}

impl Repository {
    /// Creates a repository from its name.
    ///
    /// # Errors
    /// Returns [`HubError::InvalidName`] if the name contains characters other than letters, digits, `-`, `_`
    /// and `.`, or more than one slash.
    pub fn new(kind: RepositoryKind, name: &str) -> Result<Self, HubError> {
        let is_part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(known) && !part.starts_with('.') && !part.contains("..")
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_part(part)) {
            return Err(HubError::InvalidName { name: name.to_owned() });
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// Creates the repository of a data set. See [`new`](Self::new).
    ///
    /// # Errors
    /// Returns [`HubError::InvalidName`] as [`new`](Self::new).
    pub fn dataset(name: &str) -> Result<Self, HubError> {
        Self::new(RepositoryKind::Dataset, name)
    }

    /// Returns `org/name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of its directory on disk, `org__name`.
    #[must_use]
    pub fn directory(&self) -> String {
        self.name.replace('/', "__")
    }

    /// Returns the path of its page, relative to the hub's address.
    pub(crate) fn page(&self) -> String {
        match self.kind {
            RepositoryKind::Dataset => format!("datasets/{}", self.name),
            RepositoryKind::Model => self.name.clone(),
        }
    }

    /// Returns the path of the API's description of a revision.
    pub(crate) fn revision_path(&self, revision: &str) -> String {
        let kind = match self.kind {
            RepositoryKind::Dataset => "datasets",
            RepositoryKind::Model => "models",
        };
        format!("/api/{kind}/{}/revision/{}?blobs=true", self.name, encoded(revision, Slashes::Encoded))
    }

    /// Returns the path of a file's content.
    pub(crate) fn file_path(&self, commit: &str, file: &str) -> String {
        let commit = encoded(commit, Slashes::Encoded);
        format!("/{}/resolve/{commit}/{}", self.page(), encoded(file, Slashes::Kept))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slashes {
    Kept,
    Encoded,
}

/// Percent-encodes a text as part of a URL's path (RFC 3986).
fn encoded(text: &str, slashes: Slashes) -> String {
    let keep = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (byte == b'/' && slashes == Slashes::Kept)
    };
    let encode = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// A repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The repository.
    pub repository: Repository,
    /// Commit of the revision.
    pub commit: String,
    /// Its files, sorted by path.
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository.
    pub path: String,
    /// Size in bytes, if the hub lists it.
    pub size: Option<u64>,
    /// Hash of its content, if the hub lists it.
    pub hash: Option<FileHash>,
}

impl Snapshot {
    /// Returns the file at this path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Parses the hub's response.
    pub(crate) fn read(repository: &Repository, answer: &[u8]) -> Result<Self, serde_json::Error> {
        let answer: RevisionInfo = serde_json::from_slice(answer)?;
        let mut files: Vec<RemoteFile> = answer.siblings.into_iter().map(RemoteFile::from).collect();
        files.retain(|file| is_below(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { repository: repository.clone(), commit: answer.sha, files })
    }
}

/// Returns whether a relative path stays below its directory.
fn is_below(path: &str) -> bool {
    !path.starts_with('/')
        && path.split(['/', '\\']).all(|part| !part.is_empty() && part != ".." && part != ".")
}

/// The used part of the hub's description of a revision.
#[derive(Deserialize)]
struct RevisionInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<RepositorySibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositorySibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LfsPointer>,
}

#[derive(Deserialize)]
struct LfsPointer {
    sha256: String,
    size: Option<u64>,
}

impl From<RepositorySibling> for RemoteFile {
    fn from(sibling: RepositorySibling) -> Self {
        let large = sibling.lfs;
        Self {
            path: sibling.rfilename,
            size: large.as_ref().and_then(|large| large.size).or(sibling.size),
            hash: match large {
                Some(large) => Some(FileHash::Sha256(large.sha256)),
                None => sibling.blob_id.map(FileHash::GitBlob),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses_and_folders() {
        let repository = Repository::dataset("allenai/ai2_arc").expect("a name");
        assert_eq!(repository.directory(), "allenai__ai2_arc");
        assert_eq!(
            repository.revision_path("refs/convert/parquet"),
            "/api/datasets/allenai/ai2_arc/revision/refs%2Fconvert%2Fparquet?blobs=true"
        );
        assert_eq!(
            repository.file_path("c0ffee", "a b/ü.jsonl"),
            "/datasets/allenai/ai2_arc/resolve/c0ffee/a%20b/%C3%BC.jsonl"
        );
        let model = Repository::new(RepositoryKind::Model, "gpt2").expect("a name");
        assert_eq!(model.file_path("main", "config.json"), "/gpt2/resolve/main/config.json");
    }

    #[test]
    fn names_that_could_be_something_else_are_refused() {
        for name in ["", "a/b/c", "../b", "a/..", "a b", "a/", "a//b", "a?x=1", "a/.hidden"] {
            assert!(Repository::dataset(name).is_err(), "{name}");
        }
    }

    #[test]
    fn answers_are_read_and_paths_that_lead_elsewhere_passed_over() {
        let answer = r#"{"sha":"c0ffee","private":false,"siblings":[
            {"rfilename":"data/test.parquet","size":7,"blobId":"p","lfs":{"sha256":"s","size":9,"pointerSize":1}},
            {"rfilename":"../out","size":1},{"rfilename":"/etc/x"},{"rfilename":"README.md","size":3,"blobId":"b"},
            {"rfilename":"old"}]}"#;
        let repository = Repository::dataset("a/b").expect("a name");
        let snapshot = Snapshot::read(&repository, answer.as_bytes()).expect("an answer");
        let paths: Vec<&str> = snapshot.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["README.md", "data/test.parquet", "old"]);
        assert_eq!(snapshot.files[0].hash, Some(FileHash::GitBlob("b".into())));
        assert_eq!(snapshot.files[1].size, Some(9));
        assert_eq!(snapshot.files[1].hash, Some(FileHash::Sha256("s".into())));
        assert_eq!((snapshot.files[2].size, &snapshot.files[2].hash), (None, &None));
    }
}
