//! The records of a split, from files that are there: nothing is downloaded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ProbeError;
use crate::records::read::read_records;
use crate::records::record::Record;
use crate::sources::harness::config::{DatasetSplit, HarnessDataset};
use crate::sources::harness::yaml::YamlData;

/// Names that are the format of `data_files`, not of a data set.
const FORMATS: [&str; 4] = ["csv", "json", "parquet", "text"];

/// Endings of data files.
const ENDINGS: [&str; 8] = ["jsonl", "parquet", "csv", "json", "jsonl.gz", "jsonl.zst", "json.gz", "csv.gz"];

impl HarnessDataset {
    /// The records of a split, each with all fields that any of them has (null where it lacks them), as `datasets` gives them.
    pub(super) fn records(
        &self,
        split: &DatasetSplit,
        data_folders: &[PathBuf],
    ) -> Result<Vec<Record>, ProbeError> {
        let mut records = Vec::new();
        for file in self.files(split, data_folders)? {
            records.extend(read_records(&file)?);
        }
        if records.is_empty() {
            return Err(split
                .place
                .wrong(format!("split `{}` of `{}` has no records", split.name, self.path)));
        }
        let names: BTreeSet<String> = records
            .iter()
            .filter_map(|record| record.value.as_object())
            .flat_map(|fields| fields.keys().cloned())
            .collect();
        for (item, record) in records.iter_mut().enumerate() {
            let Value::Object(fields) = &mut record.value else {
                return Err(record.wrong(item, "the record is no object".to_owned()));
            };
            for name in &names {
                fields.entry(name.clone()).or_insert(Value::Null);
            }
        }
        Ok(records)
    }

    fn files(&self, split: &DatasetSplit, data_folders: &[PathBuf]) -> Result<Vec<PathBuf>, ProbeError> {
        match &self.files {
            Some(_) => self.named_files(split, data_folders),
            None if FORMATS.contains(&self.path.as_str()) => Err(self.place.wrong(format!(
                "`dataset_kwargs.data_files`: missing: expected the files of `dataset_path: {}`",
                self.path
            ))),
            None => self.of_hub(split, data_folders).map(|file| vec![file]),
        }
    }

    /// The files that `data_files` names, beside the task file or in a data folder.
    fn named_files(
        &self,
        split: &DatasetSplit,
        data_folders: &[PathBuf],
    ) -> Result<Vec<PathBuf>, ProbeError> {
        let node =
            self.files.as_ref().ok_or_else(|| self.place.wrong("`dataset_kwargs.data_files`: missing"))?;
        let wrong = |message: &str| node.place.wrong(format!("`dataset_kwargs.data_files`: {message}"));
        let of_split = match &node.data {
            YamlData::Map(splits) => splits.get(&split.name).ok_or_else(|| {
                let known: Vec<&str> = splits.0.iter().map(|(name, _)| name.as_str()).collect();
                split.place.wrong(format!(
                    "there is no split `{}` in `dataset_kwargs.data_files`, which has {}",
                    split.name,
                    known.join(", ")
                ))
            })?,
            // What has no split is the split `train`, as in `datasets`.
            _ if split.name == "train" => node,
            _ => {
                return Err(split.place.wrong(format!(
                    "there is no split `{}`: files without the names of splits are `train`",
                    split.name
                )));
            }
        };
        let names = match of_split.value()? {
            Value::String(name) => vec![name],
            Value::Array(names) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("expected paths"))?,
            _ => return Err(wrong("expected a path, a list of paths, or such by split")),
        };
        let beside = node.place.path.parent().unwrap_or(Path::new(""));
        let find = |name: &String| {
            let places: Vec<PathBuf> = std::iter::once(beside)
                .chain(data_folders.iter().map(PathBuf::as_path))
                .map(|folder| folder.join(name))
                .collect();
            places
                .iter()
                .find(|place| place.exists())
                .cloned()
                .ok_or_else(|| wrong(&format!("no such file or folder: looked for {}", listed(&places))))
        };
        names.iter().map(find).collect()
    }

    /// The file of a data set of the hub, as `fineline data fetch` names it, or flat.
    fn of_hub(&self, split: &DatasetSplit, data_folders: &[PathBuf]) -> Result<PathBuf, ProbeError> {
        let whole = self.path.replace('/', "__");
        let repo = self.path.rsplit('/').next().unwrap_or(&self.path);
        let config = self.name.as_deref().unwrap_or("default");
        let suffix = if config == "default" { String::new() } else { format!("__{config}") };
        let flat = [format!("{repo}{suffix}.{}", split.name), format!("{whole}{suffix}.{}", split.name)];
        let folders = data_folders.iter().flat_map(|folder| [folder.clone(), folder.join("hf")]);
        let mut places = Vec::new();
        for folder in folders {
            // A data set that has one configuration need not name it.
            let only = if self.name.is_none() { only_folder(&folder.join(&whole)) } else { None };
            let config = only.as_deref().unwrap_or(config);
            for stem in std::iter::once(&format!("{whole}/{config}/{}", split.name)).chain(&flat) {
                let with_endings = ENDINGS.iter().map(|ending| folder.join(format!("{stem}.{ending}")));
                if let Some(found) = with_endings.chain([folder.join(stem)]).find(|place| place.exists()) {
                    return Ok(found);
                }
                places.push(folder.join(format!("{stem}.jsonl")));
            }
        }
        let looked = if places.is_empty() {
            "the probes' `data` key names no folder".to_owned()
        } else {
            format!("looked for {} (also .parquet, .csv, .json, .gz, .zst)", listed(&places))
        };
        Err(split.place.wrong(format!(
            "the split `{}` of `{}` is not here: {looked}; `fineline data fetch` gets it",
            split.name, self.path
        )))
    }
}

/// The name of the only folder in a folder.
fn only_folder(folder: &Path) -> Option<String> {
    let entries = fs_err::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    match &folders[..] {
        [only] => only.file_name().map(|name| name.to_string_lossy().into_owned()),
        _ => None,
    }
}

fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}
