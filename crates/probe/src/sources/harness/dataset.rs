//! Records of a split, from local files. Nothing is downloaded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ProbeError;
use crate::records::read::read_records;
use crate::records::record::Record;
use crate::sources::harness::config::{DatasetSplit, HarnessDataset};
use crate::sources::harness::yaml::YamlData;

/// Values of `dataset_path` that are the format of `data_files`, not the name of a dataset.
const FORMATS: [&str; 4] = ["csv", "json", "parquet", "text"];

/// Extensions of data files.
const ENDINGS: [&str; 8] = ["jsonl", "parquet", "csv", "json", "jsonl.gz", "jsonl.zst", "json.gz", "csv.gz"];

impl HarnessDataset {
    /// The records of a split. As in `datasets`, each record has the fields of all records, null where it
    /// lacks them.
    pub(super) fn records(
        &self,
        split: &DatasetSplit,
        data_dirs: &[PathBuf],
    ) -> Result<Vec<Record>, ProbeError> {
        let mut records = Vec::new();
        for file in self.files(split, data_dirs)? {
            records.extend(read_records(&file)?);
        }
        if records.is_empty() {
            return Err(split
                .position
                .wrong(format!("split `{}` of `{}` has no records", split.name, self.path)));
        }
        let names: BTreeSet<String> = records
            .iter()
            .filter_map(|record| record.value.as_object())
            .flat_map(|fields| fields.keys().cloned())
            .collect();
        for (item, record) in records.iter_mut().enumerate() {
            let Value::Object(fields) = &mut record.value else {
                return Err(record.wrong(item, "the record is not an object".to_owned()));
            };
            for name in &names {
                fields.entry(name.clone()).or_insert(Value::Null);
            }
        }
        Ok(records)
    }

    fn files(&self, split: &DatasetSplit, data_dirs: &[PathBuf]) -> Result<Vec<PathBuf>, ProbeError> {
        match &self.files {
            Some(_) => self.named_files(split, data_dirs),
            None if FORMATS.contains(&self.path.as_str()) => Err(self.position.wrong(format!(
                "`dataset_kwargs.data_files`: missing: expected the files of `dataset_path: {}`",
                self.path
            ))),
            None => self.of_hub(split, data_dirs).map(|file| vec![file]),
        }
    }

    /// The files named by `data_files`, next to the task file or in a data directory.
    fn named_files(&self, split: &DatasetSplit, data_dirs: &[PathBuf]) -> Result<Vec<PathBuf>, ProbeError> {
        let node =
            self.files.as_ref().ok_or_else(|| self.position.wrong("`dataset_kwargs.data_files`: missing"))?;
        let wrong = |message: &str| node.position.wrong(format!("`dataset_kwargs.data_files`: {message}"));
        let of_split = match &node.data {
            YamlData::Map(splits) => splits.get(&split.name).ok_or_else(|| {
                let known: Vec<&str> = splits.0.iter().map(|(name, _)| name.as_str()).collect();
                split.position.wrong(format!(
                    "no split `{}` in `dataset_kwargs.data_files`: expected one of {}",
                    split.name,
                    known.join(", ")
                ))
            })?,
            // As in `datasets`, files without a split are the split `train`.
            _ if split.name == "train" => node,
            _ => {
                return Err(split
                    .position
                    .wrong(format!("no split `{}`: files without a split name are `train`", split.name)));
            }
        };
        let names = match of_split.value()? {
            Value::String(name) => vec![name],
            Value::Array(names) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("expected paths"))?,
            _ => return Err(wrong("expected a path, a list of paths, or a mapping from splits to them")),
        };
        let beside = node.position.path.parent().unwrap_or(Path::new(""));
        let find =
            |name: &String| {
                let candidates: Vec<PathBuf> = std::iter::once(beside)
                    .chain(data_dirs.iter().map(PathBuf::as_path))
                    .map(|dir| dir.join(name))
                    .collect();
                candidates.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
                    wrong(&format!("no such file or directory: tried {}", listed(&candidates)))
                })
            };
        names.iter().map(find).collect()
    }

    /// The file of a dataset of the hub, as `fineline data fetch` names it, or flat.
    fn of_hub(&self, split: &DatasetSplit, data_dirs: &[PathBuf]) -> Result<PathBuf, ProbeError> {
        let whole = self.path.replace('/', "__");
        let repo = self.path.rsplit('/').next().unwrap_or(&self.path);
        let config = self.name.as_deref().unwrap_or("default");
        let suffix = if config == "default" { String::new() } else { format!("__{config}") };
        let flat = [format!("{repo}{suffix}.{}", split.name), format!("{whole}{suffix}.{}", split.name)];
        let dirs = data_dirs.iter().flat_map(|dir| [dir.clone(), dir.join("hf")]);
        let mut candidates = Vec::new();
        for dir in dirs {
            // A dataset with a single configuration need not name it.
            let only = if self.name.is_none() { only_subdir(&dir.join(&whole)) } else { None };
            let config = only.as_deref().unwrap_or(config);
            for stem in std::iter::once(&format!("{whole}/{config}/{}", split.name)).chain(&flat) {
                let with_endings = ENDINGS.iter().map(|ending| dir.join(format!("{stem}.{ending}")));
                if let Some(found) = with_endings.chain([dir.join(stem)]).find(|path| path.exists()) {
                    return Ok(found);
                }
                candidates.push(dir.join(format!("{stem}.jsonl")));
            }
        }
        let looked = if candidates.is_empty() {
            "`data_dir` in [[probes]] is not set".to_owned()
        } else {
            format!("tried {} (also .parquet, .csv, .json, .gz, .zst)", listed(&candidates))
        };
        Err(split.position.wrong(format!(
            "split `{}` of `{}` not found: {looked}; download it with `fineline data fetch`",
            split.name, self.path
        )))
    }
}

/// The name of the only subdirectory of a directory.
fn only_subdir(dir: &Path) -> Option<String> {
    let entries = fs_err::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let dirs: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    match &dirs[..] {
        [only] => only.file_name().map(|name| name.to_string_lossy().into_owned()),
        _ => None,
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
