//! Logs of one JSON object a line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::RunError;
use crate::directory::write_atomically;

/// A log that lines are appended to.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: fs::File,
}

#[derive(Deserialize)]
struct AtStep {
    step: u64,
}

impl JsonLines {
    /// Opens the log at `path` to go on after `step`: lines of later steps, and a line that a crash tore, are dropped.
    pub fn resume(path: &Path, step: u64) -> Result<Self, RunError> {
        if path.exists() {
            keep_until(path, step)?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends one line.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends a line each, in one write: a kill should leave all of them or none.
    pub fn append_all(&mut self, records: &[impl Serialize]) -> Result<(), RunError> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record).map_err(|source| self.broken(source))?;
            lines.push(b'\n');
        }
        Ok(self.file.write_all(&lines)?)
    }

    /// Waits until what was appended is on disk.
    pub fn sync(&self) -> Result<(), RunError> {
        Ok(self.file.sync_data()?)
    }

    fn broken(&self, source: serde_json::Error) -> RunError {
        RunError::Json { path: self.path.clone(), source }
    }
}

/// Drops the lines of steps after `step`, and whatever follows the last whole line.
fn keep_until(path: &Path, step: u64) -> Result<(), RunError> {
    let text = fs::read(path)?;
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        if whole && serde_json::from_slice::<AtStep>(line).is_ok_and(|at| at.step <= step) {
            kept.extend_from_slice(line);
        }
    }
    if kept.len() != text.len() {
        write_atomically(path, &kept)?;
    }
    Ok(())
}

/// Reads all whole lines of the log at `path`; a missing file has none, a torn last line is passed over.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RunError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut reader = BufReader::new(fs::File::open(path)?);
    let mut records = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let record = serde_json::from_str(&line).map_err(|source| RunError::JsonLine {
            path: path.to_owned(),
            line: records.len() + 1,
            source,
        })?;
        records.push(record);
        line.clear();
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn resuming_drops_later_lines() {
        let (_folder, path) = log("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
        JsonLines::resume(&path, 2).unwrap().append(&json!({"step": 3, "again": true})).unwrap();
        let lines: Vec<Value> = read_lines(&path).unwrap();
        assert_eq!(lines, [json!({"step": 1}), json!({"step": 2}), json!({"step": 3, "again": true})]);
    }

    #[test]
    fn resuming_drops_a_torn_line() {
        let (_folder, path) = log("{\"step\":1}\n{\"step\":2,\"lo");
        assert_eq!(read_lines::<Value>(&path).unwrap().len(), 1);
        JsonLines::resume(&path, 5).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        let (_folder, path) = log("{\"step\":1}\nnonsense\n");
        let error = read_lines::<Value>(&path).unwrap_err().to_string();
        assert!(error.contains("log.jsonl:2"), "{error}");
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        let (_folder, path) = log("");
        let numbers = [0.1_f64, 1e-300, 5e-324, 2.225_073_858_507_201_4e-308, 123_456_789.123_456_78];
        JsonLines::resume(&path, 0).unwrap().append(&json!({"step": 0, "numbers": numbers})).unwrap();
        let lines: Vec<Value> = read_lines(&path).unwrap();
        assert_eq!(lines[0]["numbers"], json!(numbers));
    }
}
