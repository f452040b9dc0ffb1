//! Where on the Hugging Face Hub the data of tasks is, for whoever fetches it before a run.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use crate::error::ProbeError;
use crate::sources::catalog::Catalog;
use crate::sources::hub_source::HubSource;

/// A task of a suite, and where its data can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSource {
    /// The task.
    pub task: String,
    /// The data set; `None` where its file names none.
    pub hub: Option<HubSource>,
}

/// As much of a suite or task file as matters here.
#[derive(Deserialize)]
struct TaskListing {
    tasks: Option<Vec<PathBuf>>,
    name: Option<String>,
    hub: Option<HubSource>,
}

impl Catalog {
    /// Where the data of a suite's tasks can be fetched from. None of it is read.
    ///
    /// # Errors
    /// A suite that there isn't, a file that can't be read.
    pub fn sources(&self, name: &str) -> Result<Vec<TaskSource>, ProbeError> {
        let Some(path) = self.file(name)? else { return Ok(Vec::new()) };
        let listing = read(&path)?;
        let Some(tasks) = listing.tasks else { return Ok(vec![source(&path, listing)]) };
        let folder = path.parent().unwrap_or(Path::new(""));
        tasks
            .iter()
            .map(|task| {
                let path = folder.join(task);
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
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("s.toml", "tasks = [\"a.toml\", \"b.toml\"]");
        write("a.toml", "name = \"a\"\nother = 1\n[hub]\nrepo = \"o/n\"\nconfig = \"c\"\nsplit = \"test\"");
        write("b.toml", "name = \"b\"");
        let catalog = Catalog { suite_dirs: vec![folder.path().to_owned()], ..Catalog::default() };
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
    fn fetched_data_is_a_file_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("o__n/plain");
        fs::create_dir_all(data.join("train")).unwrap();
        fs::write(data.join("test.jsonl"), "").unwrap();
        let folders = [folder.path().join("elsewhere"), folder.path().to_owned()];
        let find = |config: Option<&str>, split: &str| {
            let (config, split, repo) = (config.map(str::to_owned), split.to_owned(), "o/n".to_owned());
            let hub = HubSource { repo, config, split: split.clone(), examples: None, revision: None };
            hub.find(&split, &folders)
        };
        assert_eq!(find(Some("plain"), "test"), Some(data.join("test.jsonl")));
        assert_eq!(find(None, "train"), Some(data.join("train")));
        assert_eq!((find(None, "dev"), find(Some("other"), "test")), (None, None));
    }
}
