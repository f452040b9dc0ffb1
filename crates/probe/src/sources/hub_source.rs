//! The data set of the Hugging Face Hub that has the records of a task.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

/// `[hub]` of a task file: the data set that has its records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// The data set, as `organization/name`.
    pub repo: String,
    /// The configuration; absent: the only one.
    pub config: Option<String>,
    /// The split that is asked.
    pub split: String,
    /// The split that the solved examples are from, if there are any.
    pub examples: Option<String>,
    /// A branch, a tag or a commit; absent: the newest.
    pub revision: Option<String>,
}

/// Endings of the forms that a fetched split may have; a folder, if there are several files.
const FORMS: [&str; 5] = ["parquet", "jsonl", "jsonl.gz", "json", "csv"];

impl HubSource {
    /// The fetched file or folder of a split, in the first of the folders of all data that has it.
    pub(crate) fn find(&self, split: &str, folders: &[PathBuf]) -> Option<PathBuf> {
        folders.iter().find_map(|folder| {
            let folder = folder.join(self.repo.replace('/', "__"));
            let configs = match &self.config {
                Some(config) => vec![folder.join(config)],
                None => folders_in(&folder),
            };
            configs.iter().find_map(|config| {
                let forms = FORMS.iter().map(|form| config.join(format!("{split}.{form}")));
                forms.chain([config.join(split)]).find(|place| place.exists())
            })
        })
    }
}

/// The folders in a folder, sorted; none in one that isn't there.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
