//! Records from the files of others: JSON lines, CSV, or a folder of such.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use fs_err as fs;
use serde_json::{Map, Value};

use crate::ProbeError;
use crate::parquet_records::parquet_records;

/// A record of a data file, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) path: Arc<Path>,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// Endings of data files; `.gz` is one of JSON lines.
const FORMS: [&str; 4] = ["jsonl", "gz", "csv", "parquet"];

/// The records at `path`: of a file, or of all data files in a folder and below it, in the order of their paths; to the
/// latter, `file` is added, the name of their file without its ending.
pub(crate) fn read_records(path: &Path) -> Result<Vec<Record>, ProbeError> {
    if !path.is_dir() {
        return read_file(path, 0);
    }
    let mut records = Vec::new();
    for file in files_below(path)? {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        for mut record in read_file(&file, records.len())? {
            if let Value::Object(fields) = &mut record.value {
                fields.entry("file").or_insert_with(|| Value::from(name.as_str()));
            }
            records.push(record);
        }
    }
    Ok(records)
}

/// The data files in a folder and in those within it, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, ProbeError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.extension().is_some_and(|extension| FORMS.contains(&&*extension.to_string_lossy())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The records of a file, after `before` others.
fn read_file(path: &Path, before: usize) -> Result<Vec<Record>, ProbeError> {
    let has_ending = |name: &str| path.extension().is_some_and(|extension| extension == name);
    if has_ending("parquet") {
        let shared: Arc<Path> = path.into();
        let record = |(row, value)| Record { path: Arc::clone(&shared), line: row + 1, value };
        return Ok(parquet_records(path)?.into_iter().enumerate().map(record).collect());
    }
    let text = if has_ending("gz") { gunzip(path)? } else { fs::read_to_string(path)? };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let records = if has_ending("csv") { csv_records(text) } else { json_records(text) };
    let path: Arc<Path> = path.into();
    let of_file = |(item, (line, value)): (usize, (usize, Result<Value, String>))| match value {
        Ok(value) => Ok(Record { path: Arc::clone(&path), line, value }),
        Err(message) => {
            Err(ProbeError::Record { path: path.to_path_buf(), line, item: before + item, message })
        }
    };
    records.into_iter().enumerate().map(of_file).collect()
}

/// The text of a compressed file.
fn gunzip(path: &Path) -> Result<String, ProbeError> {
    let mut text = String::new();
    let read = MultiGzDecoder::new(fs::File::open(path)?).read_to_string(&mut text);
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())).into()),
    }
}

/// Each line's value, or what is wrong with it; empty lines are passed over.
fn json_records(text: &str) -> Vec<(usize, Result<Value, String>)> {
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let value = |text| serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"));
    lines.map(|(line, text)| (line + 1, value(text))).collect()
}

/// Each row as an object of texts, named by the first row.
fn csv_records(text: &str) -> Vec<(usize, Result<Value, String>)> {
    let mut rows = csv_rows(text).into_iter();
    let names = match rows.next() {
        Some((_, Ok(names))) => names,
        Some((line, Err(message))) => return vec![(line, Err(message))],
        None => return Vec::new(),
    };
    let object = |cells: Vec<String>| {
        if cells.len() != names.len() {
            return Err(format!("{} cells, but the first line names {}", cells.len(), names.len()));
        }
        let fields = names.iter().cloned().zip(cells.into_iter().map(Value::from));
        Ok(Value::Object(fields.collect::<Map<_, _>>()))
    };
    rows.map(|(line, row)| (line, row.and_then(object))).collect()
}

/// The rows of CSV (RFC 4180), each with the line on which it begins; empty lines are passed over.
fn csv_rows(text: &str) -> Vec<(usize, Result<Vec<String>, String>)> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start, mut is_quoted) = (1, 1, false);
    let mut chars = text.chars().chain((!text.ends_with('\n')).then_some('\n')).peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' if is_quoted || cell.is_empty() => is_quoted = !is_quoted,
            c if is_quoted => cell.push(c),
            ',' => row.push(std::mem::take(&mut cell)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                let row = std::mem::take(&mut row);
                if row.iter().any(|cell| !cell.is_empty()) || row.len() > 1 {
                    rows.push((start, Ok(row)));
                }
                start = line;
            }
            c => cell.push(c),
        }
    }
    if is_quoted {
        rows.push((start, Err("a quotation mark that nothing closes".to_owned())));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        csv_rows(text).into_iter().map(|(line, row)| (line, row.unwrap())).collect()
    }

    #[test]
    fn cells_may_be_quoted() {
        let text = "a,b\r\n\"1, 2\n3\",\"say \"\"ja\"\"\"\n\n,四\n";
        let expected = [
            (1, vec!["a".into(), "b".into()]),
            (2, vec!["1, 2\n3".into(), "say \"ja\"".into()]),
            (5, vec![String::new(), "四".into()]),
        ];
        assert_eq!(rows(text), expected);
        assert_eq!(rows(text.trim_end()), expected);
        assert!(rows("").is_empty() && rows("\n\n").is_empty());
        assert!(csv_rows("a\n\"b").last().unwrap().1.is_err());
    }

    #[test]
    fn a_folder_is_all_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("z")).unwrap();
        for (name, text) in [
            ("b.csv", "\u{feff}q,a\n1,x\n"),
            ("a.jsonl", "{\"q\":1,\"file\":\"own\"}\n\n[2]\n"),
            ("z/c.jsonl", "{\"q\":3}"),
            ("readme.md", "no data"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let records = read_records(folder.path()).unwrap();
        let values: Vec<Value> = records.iter().map(|record| record.value.clone()).collect();
        let expected = [
            json!({"q": 1, "file": "own"}),
            json!([2]),
            json!({"q": "1", "a": "x", "file": "b"}),
            json!({"q": 3, "file": "c"}),
        ];
        assert_eq!(values, expected);
        assert_eq!(records.iter().map(|record| record.line).collect::<Vec<_>>(), [1, 3, 2, 1]);
    }

    #[test]
    fn rows_of_another_length_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "a,b\n1,2\n1,2,3\n").unwrap();
        let error = read_records(&path).unwrap_err().to_string();
        assert!(error.ends_with("t.csv line 3 (item 1): 3 cells, but the first line names 2"), "{error}");
        fs::write(&path, "\"a,b\n1,2\n").unwrap();
        let error = read_records(&path).unwrap_err().to_string();
        assert!(error.ends_with("line 1 (item 0): a quotation mark that nothing closes"), "{error}");
    }
}
