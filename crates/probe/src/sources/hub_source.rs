//! The dataset of the Hugging Face Hub that contains the records of a task.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

/// `[hub]` of a task file: the dataset that contains its records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// The dataset, as `organization/name`.
    pub repo: String,
    /// The configuration. Absent: the only one.
    pub config: Option<String>,
    /// The split that is evaluated.
    pub split: String,
    /// The split of the few-shot examples, if there are any.
    pub examples: Option<String>,
    /// A branch, a tag or a commit. Absent: the newest commit.
    pub revision: Option<String>,
}

/// File name extensions of a downloaded split. A split with several files is a directory.
const FORMS: [&str; 5] = ["parquet", "jsonl", "jsonl.gz", "json", "csv"];

impl HubSource {
    /// The downloaded file or directory of a split, in the first of the data directories that has it.
    pub(crate) fn find(&self, split: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
        dirs.iter().find_map(|dir| {
            let dir = dir.join(self.repo.replace('/', "__"));
            let configs = match &self.config {
                Some(config) => vec![dir.join(config)],
                None => subdirs_in(&dir),
            };
            configs.iter().find_map(|config| {
                let forms = FORMS.iter().map(|form| config.join(format!("{split}.{form}")));
                forms.chain([config.join(split)]).find(|path| path.exists())
            })
        })
    }
}

/// Subdirectories of a directory, sorted. None if it doesn't exist.
fn subdirs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}
