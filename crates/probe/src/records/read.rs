//! Records from data files: JSON lines, JSON, CSV, Parquet, or a directory of them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fineline_data::open_decompressed;
use fs_err as fs;
use serde_json::{Map, Value};

use crate::error::ProbeError;
use crate::records::parquet_records::parquet_records;
use crate::records::record::{ParsedRecords, Record};

/// Format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataFormat {
    /// One JSON value per line.
    JsonLines,
    /// A list of records, or an object that contains one.
    Json,
    /// A header line, then one line per record.
    Csv,
    /// Columns.
    Parquet,
}

impl DataFormat {
    /// Format by file name extension. Text formats may be compressed (`.gz`, `.zst`).
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let text = [".gz", ".zst"].into_iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        let formats = [(".jsonl", Self::JsonLines), (".json", Self::Json), (".csv", Self::Csv)];
        let of_text =
            formats.into_iter().find(|(ending, _)| text.ends_with(ending)).map(|(_, format)| format);
        of_text.or_else(|| name.ends_with(".parquet").then_some(Self::Parquet))
    }

    fn read(self, path: &Path) -> Result<ParsedRecords, ProbeError> {
        if self == Self::Parquet {
            return Ok(parquet_records(fs::File::open(path)?.into_parts().0));
        }
        let mut text = String::new();
        let unreadable =
            |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        open_decompressed(path)?.read_to_string(&mut text).map_err(unreadable)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Ok(match self {
            Self::Csv => csv_records(text),
            Self::Json => json_list(text),
            _ => json_lines(text),
        })
    }
}

/// Reads the records of a file, or of all data files in a directory and its subdirectories in the order of
/// their paths. Records from a directory get the field `file`: the name of their file without extension.
pub(crate) fn read_records(path: &Path) -> Result<Vec<Record>, ProbeError> {
    if !path.is_dir() {
        return read_file(path, 0);
    }
    let mut records = Vec::new();
    for file in files_below(path)? {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default();
        for mut record in read_file(&file, records.len())? {
            if let Value::Object(fields) = &mut record.value {
                fields.entry("file").or_insert_with(|| Value::from(name));
            }
            records.push(record);
        }
    }
    Ok(records)
}

/// The data files in a directory and its subdirectories, sorted.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>, ProbeError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if DataFormat::of(&path).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the records of a file that follow `before` others. A file with an unknown extension is read as JSON
/// lines.
fn read_file(path: &Path, before: usize) -> Result<Vec<Record>, ProbeError> {
    let records = DataFormat::of(path).unwrap_or(DataFormat::JsonLines).read(path)?;
    let path: Arc<Path> = path.into();
    let of_file = |(item, (line, value)): (usize, (usize, Result<Value, String>))| match value {
        Ok(value) => Ok(Record { path: Arc::clone(&path), line, value }),
        Err(message) => {
            Err(ProbeError::Record { path: path.to_path_buf(), line, item: before + item, message })
        }
    };
    records.into_iter().enumerate().map(of_file).collect()
}

/// The value of each line, or why it is invalid. Empty lines are skipped.
fn json_lines(text: &str) -> ParsedRecords {
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let value = |text| serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"));
    lines.map(|(line, text)| (line + 1, value(text))).collect()
}

/// The records of a list, or of the only list in an object, such as `examples` of BIG-Bench.
fn json_list(text: &str) -> ParsedRecords {
    let refused = |line: usize, message: String| vec![(line, Err(message))];
    let list = match serde_json::from_str(text) {
        Ok(Value::Array(list)) => list,
        Ok(Value::Object(fields)) => {
            let mut lists = fields.into_iter().filter_map(|(_, value)| match value {
                Value::Array(list) => Some(list),
                _ => None,
            });
            match (lists.next(), lists.next()) {
                (Some(list), None) => list,
                _ => return refused(1, "expected an object with one list of records".to_owned()),
            }
        }
        Ok(_) => return refused(1, "expected a list of records, or an object with one".to_owned()),
        Err(error) => return refused(error.line(), format!("not JSON: {error}")),
    };
    list.into_iter().enumerate().map(|(index, record)| (index + 1, Ok(record))).collect()
}

/// Each row as an object of strings, with the names of the header.
fn csv_records(text: &str) -> ParsedRecords {
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let names = match rows.headers() {
        Ok(names) => names.clone(),
        Err(error) => return vec![(1, Err(error.to_string()))],
    };
    let object = |cells: &csv::StringRecord| {
        if cells.len() != names.len() {
            return Err(format!("{} cells, but the header has {}", cells.len(), names.len()));
        }
        let fields = names.iter().zip(cells).map(|(name, cell)| (name.to_owned(), Value::from(cell)));
        Ok(Value::Object(fields.collect::<Map<_, _>>()))
    };
    let mut lines = LineCounter { text, at: 0, line: 1 };
    let mut row = |row: Result<csv::StringRecord, csv::Error>| match row {
        Ok(cells) => (lines.line_of(cells.position()), object(&cells)),
        Err(error) => (lines.line_of(error.position()), Err(error.to_string())),
    };
    rows.records().map(&mut row).collect()
}

/// Counts the lines of a text up to increasing positions.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// Line number, from 1, of the first row after `position`, which is before any preceding line breaks.
    fn line_of(&mut self, position: Option<&csv::Position>) -> usize {
        let from = position.map_or(self.at, |position| position.byte() as usize);
        let breaks = self.text[from..].bytes().take_while(|byte| b"\r\n".contains(byte)).count();
        let passed = &self.text[self.at..from + breaks];
        self.line += passed.matches('\n').count();
        self.at = from + breaks;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(text: &str) -> Vec<(usize, Value)> {
        csv_records(text).into_iter().map(|(line, row)| (line, row.unwrap())).collect()
    }

    #[test]
    fn cells_may_be_quoted() {
        let text = "a,b\r\n\"1, 2\n3\",\"say \"\"ja\"\"\"\n\n,四\n";
        let expected = [(2, json!({"a": "1, 2\n3", "b": "say \"ja\""})), (5, json!({"a": "", "b": "四"}))];
        assert_eq!(rows(text), expected);
        assert_eq!(rows(text.trim_end()), expected);
        assert!(rows("").is_empty() && rows("\n\n").is_empty());
    }

    #[test]
    fn json_may_be_a_list_or_hold_one() {
        let values = |text: &str| -> Result<Vec<Value>, String> {
            json_list(text).into_iter().map(|line| line.1).collect()
        };
        assert_eq!(values("[{\"a\": 1}, 2]").unwrap(), [json!({"a": 1}), json!(2)]);
        assert_eq!(values("{\"canary\": \"x\", \"examples\": [{\"a\": 1}]}").unwrap(), [json!({"a": 1})]);
        assert!(values("{\"a\": [], \"b\": []}").unwrap_err().contains("one list"));
        assert!(values("1").unwrap_err().contains("expected a list"));
        assert_eq!(json_list("[\n1,\n").remove(0).0, 3);
    }

    #[test]
    fn text_may_be_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"{\"q\":1}\n").unwrap();
        fs::write(&path, encoder.finish().unwrap()).unwrap();
        let records = read_records(dir.path()).unwrap();
        assert_eq!(records[0].value, json!({"q": 1, "file": "a"}));
        fs::write(&path, "no gzip").unwrap();
        assert!(read_records(&path).unwrap_err().to_string().contains("a.jsonl.gz"));
    }

    #[test]
    fn a_directory_is_all_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("z")).unwrap();
        for (name, text) in [
            ("b.csv", "\u{feff}q,a\n1,x\n"),
            ("a.jsonl", "{\"q\":1,\"file\":\"own\"}\n\n[2]\n"),
            ("z/c.jsonl", "{\"q\":3}"),
            ("readme.md", "no data"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let records = read_records(dir.path()).unwrap();
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
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        fs::write(&path, "a,b\n1,2\n1,2,3\n").unwrap();
        let error = read_records(&path).unwrap_err().to_string();
        assert!(error.ends_with("t.csv line 3 (item 1): 3 cells, but the header has 2"), "{error}");
        fs::write(&path, "a,b\n1,\"2\n3,4\n5,6,7").unwrap();
        assert_eq!(read_records(&path).unwrap()[0].value["b"], "2\n3,4\n5,6,7");
    }
}
