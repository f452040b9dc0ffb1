//! Assignment of a repository's files to configurations and splits.

use std::collections::BTreeMap;

use glob::Pattern;
use serde::Deserialize;

use crate::error::HubError;
use crate::repository::{RemoteFile, Snapshot};
use fineline_diagnostics::nearest_in_parentheses;

/// Name of the only configuration of a data set.
pub const DEFAULT_CONFIG: &str = "default";

/// Extensions of data files.
const FORMS: [&str; 5] = ["parquet", "jsonl", "jsonl.gz", "json", "csv"];

/// The files of each split of each configuration, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetLayout(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl DatasetLayout {
    /// Reads the layout from the README's `configs`, or derives it from the names of the files.
    #[must_use]
    pub fn of(snapshot: &Snapshot, readme: &str) -> Self {
        let files: Vec<&str> = data_files(&snapshot.files);
        let declared = Self::declared(&files, readme);
        if declared.0.is_empty() { Self::by_name(&files) } else { declared }
    }

    /// Returns whether there are no splits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names of the configurations, sorted.
    #[must_use]
    pub fn configs(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Returns the name of the requested configuration. Without a request, the only one, or `default`.
    ///
    /// # Errors
    /// Returns [`HubError::NoConfig`] or [`HubError::SeveralConfigs`], which list the existing
    /// configurations.
    pub fn config(&self, dataset: &str, requested: Option<&str>) -> Result<&str, HubError> {
        let (name, known) = (dataset.to_owned(), self.configs());
        let found = match requested {
            Some(requested) => self.0.get_key_value(requested),
            None if self.0.len() == 1 => self.0.first_key_value(),
            None => self.0.get_key_value(DEFAULT_CONFIG),
        };
        match (found, requested) {
            (Some((config, _)), _) => Ok(config),
            (None, Some(requested)) => {
                let hint = nearest_in_parentheses(requested, known.iter().map(String::as_str));
                Err(HubError::NoConfig { name, requested: requested.to_owned(), hint, known })
            }
            (None, None) => Err(HubError::SeveralConfigs { name, known }),
        }
    }

    /// Returns the requested split of an existing configuration, or all of its splits.
    ///
    /// # Errors
    /// Returns [`HubError::NoSplit`], which lists the existing splits.
    pub fn splits(
        &self,
        dataset: &str,
        config: &str,
        requested: Option<&str>,
    ) -> Result<Vec<(&str, &[String])>, HubError> {
        let splits = self.0.get(config).into_iter().flatten();
        let found: Vec<(&str, &[String])> = splits
            .filter(|(split, _)| requested.is_none_or(|requested| requested == *split))
            .map(|(split, files)| (split.as_str(), files.as_slice()))
            .collect();
        if let (true, Some(requested)) = (found.is_empty(), requested) {
            let known: Vec<String> =
                self.0.get(config).map(|splits| splits.keys().cloned().collect()).unwrap_or_default();
            return Err(HubError::NoSplit {
                name: dataset.to_owned(),
                config: config.to_owned(),
                requested: requested.to_owned(),
                hint: nearest_in_parentheses(requested, known.iter().map(String::as_str)),
                known,
            });
        }
        Ok(found)
    }

    fn add(&mut self, config: &str, split: &str, file: &str) {
        let files = self.0.entry(config.to_owned()).or_default().entry(split.to_owned()).or_default();
        if !files.iter().any(|known| known == file) {
            files.push(file.to_owned());
        }
    }

    /// Reads the `configs` of the YAML front matter of a README.
    fn declared(files: &[&str], readme: &str) -> Self {
        let mut layout = Self::default();
        let Some(yaml) = front_matter(readme) else { return layout };
        let Ok(card) = serde_saphyr::from_str::<DatasetCard>(yaml) else {
            tracing::warn!("the YAML of the data set's README can't be parsed; using the names of its files");
            return layout;
        };
        for config in card.configs {
            let directory = config.data_dir.as_deref().map(|directory| directory.trim_matches('/'));
            let below =
                |file: &str| directory.is_none_or(|directory| file.starts_with(&format!("{directory}/")));
            match config.data_files {
                None if directory.is_some() => {
                    let in_directory: Vec<&str> = files.iter().copied().filter(|file| below(file)).collect();
                    for file in in_directory {
                        let (_, split) = config_and_split(file);
                        layout.add(&config.config_name, &split, file);
                    }
                }
                None => {}
                Some(declared) => {
                    for (split, pattern) in declared.pairs() {
                        let pattern =
                            directory.map_or(pattern.clone(), |directory| format!("{directory}/{pattern}"));
                        let Ok(pattern) = Pattern::new(&pattern) else { continue };
                        for file in files.iter().filter(|file| pattern.matches(file)) {
                            layout.add(&config.config_name, &split, file);
                        }
                    }
                }
            }
        }
        layout
    }

    fn by_name(files: &[&str]) -> Self {
        let mut layout = Self::default();
        for file in files {
            let (config, split) = config_and_split(file);
            layout.add(&config, &split, file);
        }
        layout
    }
}

/// Returns the paths of data files.
fn data_files(files: &[RemoteFile]) -> Vec<&str> {
    let is_data = |file: &&RemoteFile| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let is_about = ["dataset_infos.json", "dataset_info.json", "config.json"].contains(&name);
        !is_about && !file.path.starts_with('.') && form(&file.path).is_some()
    };
    files.iter().filter(is_data).map(|file| file.path.as_str()).collect()
}

/// Returns the format of a data file by its extension, or `None` for other files.
pub(crate) fn form(path: &str) -> Option<&'static str> {
    // If two extensions match, the longer one.
    FORMS.into_iter().filter(|form| path.ends_with(&format!(".{form}"))).max_by_key(|form| form.len())
}

/// Derives configuration and split from a path by the hub's conventions:
/// `CONFIG/SPLIT-00000-of-00001.parquet`, `data/SPLIT-...` and `SPLIT.csv` for a data set with one
/// configuration, and `CONFIG/SPLIT/0000.parquet` in the hub's own conversions.
fn config_and_split(path: &str) -> (String, String) {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = form(path).map_or(name, |form| &name[..name.len() - form.len() - 1]);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (directory, split) = if is_number(stem) {
        directory.rsplit_once('/').map_or(("", directory), |(directory, split)| (directory, split))
    } else {
        (directory, sharded(stem).unwrap_or(stem))
    };
    let split = if split == stem { known_split(split).unwrap_or(split) } else { split };
    let config = match directory.rsplit('/').next().unwrap_or_default() {
        "" | "data" => DEFAULT_CONFIG,
        config => config,
    };
    (config.to_owned(), split.to_owned())
}

/// Returns the part of a name before `-00000-of-00001`.
fn sharded(stem: &str) -> Option<&str> {
    let (rest, _) = stem.rsplit_once("-of-")?;
    Some(rest.rsplit_once('-')?.0)
}

/// Returns the split that a file name contains, by the rules of `datasets`.
fn known_split(stem: &str) -> Option<&'static str> {
    let words: Vec<String> =
        stem.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_lowercase).collect();
    let speaks_of = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    [
        ("train", &["train", "training"][..]),
        ("validation", &["validation", "valid", "dev", "val"][..]),
        ("test", &["test", "testing", "eval", "evaluation"][..]),
    ]
    .into_iter()
    .find_map(|(split, names)| speaks_of(names).then_some(split))
}

/// Returns the YAML between the first two lines of `---`.
fn front_matter(readme: &str) -> Option<&str> {
    let rest = readme.trim_start_matches('\u{feff}').strip_prefix("---")?;
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?;
    rest.find("\n---").map(|end| &rest[..end])
}

#[derive(Deserialize)]
struct DatasetCard {
    #[serde(default)]
    configs: Vec<CardConfig>,
}

#[derive(Deserialize)]
struct CardConfig {
    #[serde(default = "default_config")]
    config_name: String,
    data_files: Option<DataFiles>,
    data_dir: Option<String>,
}

fn default_config() -> String {
    DEFAULT_CONFIG.to_owned()
}

/// The forms of `data_files`.
#[derive(Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Splits(Vec<SplitFiles>),
    Paths(CardPaths),
    BySplit(BTreeMap<String, CardPaths>),
}

#[derive(Deserialize)]
struct SplitFiles {
    split: String,
    path: CardPaths,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CardPaths {
    One(String),
    Several(Vec<String>),
}

impl DataFiles {
    /// Returns pairs of a split and a pattern of its files. Files without a split belong to `train`, as in
    /// `datasets`.
    fn pairs(self) -> Vec<(String, String)> {
        let of = |split: String, paths: CardPaths| {
            let paths = match paths {
                CardPaths::One(path) => vec![path],
                CardPaths::Several(paths) => paths,
            };
            paths.into_iter().map(move |path| (split.clone(), path.trim_start_matches("./").to_owned()))
        };
        match self {
            Self::Splits(splits) => {
                splits.into_iter().flat_map(|files| of(files.split, files.path)).collect()
            }
            Self::Paths(paths) => of("train".to_owned(), paths).collect(),
            Self::BySplit(splits) => splits.into_iter().flat_map(|(split, paths)| of(split, paths)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;

    fn layout(files: &[&str], readme: &str) -> DatasetLayout {
        let files = files.iter().map(|path| RemoteFile { path: (*path).to_owned(), size: None, hash: None });
        let repository = Repository::dataset("a/b").expect("a name");
        DatasetLayout::of(&Snapshot { repository, commit: String::new(), files: files.collect() }, readme)
    }

    fn files<'a>(layout: &'a DatasetLayout, config: &str, split: &str) -> Vec<&'a str> {
        let splits = layout.splits("a/b", config, Some(split)).expect("a split");
        splits[0].1.iter().map(String::as_str).collect()
    }

    #[test]
    fn names_tell_configuration_and_split() {
        for (path, config, split) in [
            ("ARC-Easy/validation-00000-of-00001.parquet", "ARC-Easy", "validation"),
            ("data/train-00003-of-00010.parquet", "default", "train"),
            ("test.jsonl", "default", "test"),
            ("data/dev_r1-00000-of-00001.parquet", "default", "dev_r1"),
            ("main/test/0000.parquet", "main", "test"),
            ("plain_text/validation/0001.parquet", "plain_text", "validation"),
            ("csqa_dev.jsonl.gz", "default", "validation"),
            ("single_digit_three_ops.jsonl", "default", "single_digit_three_ops"),
            ("deep/en/val.csv", "en", "validation"),
        ] {
            assert_eq!(config_and_split(path), (config.to_owned(), split.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_holds_no_records_is_passed_over() {
        let layout = layout(&["README.md", ".hidden.csv", "dataset_infos.json", "a.py", "test.csv"], "");
        assert_eq!(layout.configs(), ["default"]);
        assert_eq!(files(&layout, "default", "test"), ["test.csv"]);
    }

    #[test]
    fn a_readme_says_more_than_names() {
        let readme = "---
license: mit
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path:
    - main/a.parquet
    - main/b.parquet
- config_name: socratic
  data_files:
    train: socratic/*.parquet
- config_name: one
  data_files: x.csv
- config_name: nested
  data_dir: f
---
# Text
configs: no
";
        let names = [
            "f/test-00000-of-00001.parquet",
            "main/a.parquet",
            "main/b.parquet",
            "main/train-00000-of-00002.parquet",
            "main/train-00001-of-00002.parquet",
            "socratic/q.parquet",
            "x.csv",
        ];
        let layout = layout(&names, readme);
        assert_eq!(layout.configs(), ["main", "nested", "one", "socratic"]);
        assert_eq!(files(&layout, "main", "train").len(), 2);
        assert_eq!(files(&layout, "main", "test"), ["main/a.parquet", "main/b.parquet"]);
        assert_eq!(files(&layout, "socratic", "train"), ["socratic/q.parquet"]);
        assert_eq!(files(&layout, "one", "train"), ["x.csv"]);
        assert_eq!(files(&layout, "nested", "test"), ["f/test-00000-of-00001.parquet"]);
        assert_eq!(self::layout(&["test.csv"], "---\n: [\n---\n").configs(), ["default"]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_there_is() {
        let layout = layout(&["ARC-Easy/test.parquet", "ARC-Challenge/test.parquet"], "");
        let error = layout.config("a/b", Some("ARC-easy")).expect_err("no such").to_string();
        assert_eq!(
            error,
            "a/b: no configuration `ARC-easy` (did you mean `ARC-Easy`?), \
             expected one of ARC-Challenge, ARC-Easy"
        );
        let error = layout.config("a/b", None).expect_err("two").to_string();
        assert_eq!(error, "a/b: several configurations; select one of ARC-Challenge, ARC-Easy");
        let error = layout.splits("a/b", "ARC-Easy", Some("dev")).expect_err("no such").to_string();
        assert_eq!(error, "a/b, configuration `ARC-Easy`: no split `dev`, expected one of test");
    }
}
