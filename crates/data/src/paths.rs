//! Names of the files that belong to a shard.

use std::path::{Path, PathBuf};

/// Returns `path` with `suffix` appended to its name, whatever dots the name contains.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the path of a shard's information, `PREFIX.fineline.json`.
pub(crate) fn info_path(prefix: &Path) -> PathBuf {
    with_suffix(prefix, ".fineline.json")
}
