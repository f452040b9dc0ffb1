//! Datasets of the Hugging Face Hub from which the data of tasks can be downloaded before a run.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use crate::error::ProbeError;
use crate::sources::catalog::Catalog;
use crate::sources::hub_source::HubSource;

/// A task of a suite, and the source of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSource {
    /// The task.
    pub task: String,
    /// The dataset. `None` if the task's file doesn't name one.
    pub hub: Option<HubSource>,
}

/// The relevant keys of a suite or task file.
#[derive(Deserialize)]
struct TaskListing {
    tasks: Option<Vec<PathBuf>>,
    name: Option<String>,
    hub: Option<HubSource>,
}

impl Catalog {
    /// Lists the sources of the data of a suite's tasks. Reads no data.
    ///
    /// # Errors
    /// [`ProbeError::UnknownSuite`] if the suite doesn't exist, [`ProbeError::Io`] or [`ProbeError::Toml`] if
    /// one of its files can't be read.
    pub fn sources(&self, name: &str) -> Result<Vec<TaskSource>, ProbeError> {
        let Some(path) = self.file(name)? else { return Ok(Vec::new()) };
        let listing = read(&path)?;
        let Some(tasks) = listing.tasks else { return Ok(vec![source(&path, listing)]) };
        let dir = path.parent().unwrap_or(Path::new(""));
        tasks
            .iter()
            .map(|task| {
                let path = dir.join(task);
                Ok(source(&path, read(&path)?))
            })
            .collect()
    }
}

fn source(path: &Path, listing: TaskListing) -> TaskSource {
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    TaskSource { task: listing.name.unwrap_or_else(stem), hub: listing.hub }
}

fn read(path: &Path) -> Result<TaskListing, ProbeError> {
    if path.extension().is_none_or(|ending| ending != "toml") {
        return Ok(TaskListing { tasks: None, name: None, hub: None });
    }
    let text = fs::read_to_string(path)?;
    toml::from_str(&text).map_err(|source| ProbeError::Toml { path: path.to_owned(), source: source.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_of_a_suite_are_those_of_its_tasks() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("s.toml", "tasks = [\"a.toml\", \"b.toml\"]");
        write("a.toml", "name = \"a\"\nother = 1\n[hub]\nrepo = \"o/n\"\nconfig = \"c\"\nsplit = \"test\"");
        write("b.toml", "name = \"b\"");
        let catalog = Catalog { suite_dirs: vec![dir.path().to_owned()], ..Catalog::default() };
        let sources = catalog.sources("s").unwrap();
        assert_eq!(sources[1], TaskSource { task: "b".into(), hub: None });
        let hub = sources[0].hub.as_ref().unwrap();
        assert_eq!((hub.repo.as_str(), hub.split.as_str()), ("o/n", "test"));
        assert_eq!(catalog.sources("a").unwrap()[..], sources[..1]);
        assert!(catalog.sources("tinyworld").unwrap().is_empty());
        write("b.toml", "[hub]\nrepo = \"o/n\"\nsplit = \"test\"\nconfiguration = \"c\"");
        assert!(catalog.sources("s").unwrap_err().to_string().contains("unknown field `configuration`"));
    }

    #[test]
    fn fetched_data_is_a_file_or_a_dir() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("o__n/plain");
        fs::create_dir_all(data.join("train")).unwrap();
        fs::write(data.join("test.jsonl"), "").unwrap();
        let dirs = [dir.path().join("elsewhere"), dir.path().to_owned()];
        let find = |config: Option<&str>, split: &str| {
            let (config, split, repo) = (config.map(str::to_owned), split.to_owned(), "o/n".to_owned());
            let hub = HubSource { repo, config, split: split.clone(), examples: None, revision: None };
            hub.find(&split, &dirs)
        };
        assert_eq!(find(Some("plain"), "test"), Some(data.join("test.jsonl")));
        assert_eq!(find(None, "train"), Some(data.join("train")));
        assert_eq!((find(None, "dev"), find(Some("other"), "test")), (None, None));
    }
}
