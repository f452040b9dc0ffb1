//! The documents of one file.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fineline_diagnostics::nearest;
use serde_json::{Map, Value};

use crate::error::describe_json_error;
use crate::error::{DataError, Result};
use crate::text::decompress::open_text;
use crate::text::files::{Compression, TextFile, TextFormat};

/// Size above which a plain file is split into several documents, so that memory is bounded and the parts can
/// be tokenized in parallel.
const MAX_PLAIN: usize = 4 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reader of the documents of one file.
pub(super) struct FileDocuments {
    path: PathBuf,
    format: TextFormat,
    compression: Compression,
    field: String,
    reader: Box<dyn BufRead + Send>,
    /// Number of bytes of text before `buffer`.
    offset: u64,
    line: u64,
    buffer: Vec<u8>,
}

impl fmt::Debug for FileDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDocuments")
            .field("path", &self.path)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl FileDocuments {
    pub(super) fn open(file: &TextFile, field: &str, bytes_read: Arc<AtomicU64>) -> Result<Self> {
        Ok(Self {
            path: file.path.clone(),
            format: file.format,
            compression: file.compression,
            field: field.to_owned(),
            reader: open_text(file, bytes_read)?,
            offset: 0,
            line: 0,
            buffer: Vec::new(),
        })
    }

    /// Returns the next document, which may be empty, or `None` at the end of the file.
    pub(super) fn next_document(&mut self) -> Result<Option<String>> {
        match self.format {
            TextFormat::Plain => self.next_plain(),
            TextFormat::Jsonl => self.next_record(),
        }
    }

    fn next_plain(&mut self) -> Result<Option<String>> {
        let wanted = (MAX_PLAIN - self.buffer.len()) as u64;
        if let Err(error) = self.reader.by_ref().take(wanted).read_to_end(&mut self.buffer) {
            return Err(self.unreadable(error));
        }
        self.strip_byte_order_mark();
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let whole = self.buffer.len() < MAX_PLAIN;
        let rest = self.buffer.split_off(if whole { self.buffer.len() } else { cut(&self.buffer) });
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let offset = offset + error.utf8_error().valid_up_to() as u64;
                Err(DataError::NotUtf8 { path: self.path.clone(), offset, line: None })
            }
        }
    }

    fn next_record(&mut self) -> Result<Option<String>> {
        loop {
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
            match self.reader.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(self.unreadable(error)),
            }
            self.line += 1;
            self.strip_byte_order_mark();
            if !self.buffer.trim_ascii().is_empty() {
                return self.parse_record().map(Some);
            }
        }
    }

    fn parse_record(&self) -> Result<String> {
        let (path, line) = (|| self.path.clone(), self.line);
        let text = std::str::from_utf8(&self.buffer).map_err(|error| {
            let offset = self.offset + error.valid_up_to() as u64;
            DataError::NotUtf8 { path: path(), offset, line: Some(line) }
        })?;
        let mut record: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            DataError::NotJson { path: path(), line, message: describe_json_error(&error) }
        })?;
        match record.get_mut(&self.field).map(Value::take) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => {
                let found = kind(&other);
                Err(DataError::FieldNotString { path: path(), line, field: self.field.clone(), found })
            }
            None => {
                let (found, hint) = describe_fields(&record, &self.field);
                Err(DataError::MissingField { path: path(), line, field: self.field.clone(), found, hint })
            }
        }
    }

    fn strip_byte_order_mark(&mut self) {
        if self.offset == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
        }
    }

    fn unreadable(&self, error: io::Error) -> DataError {
        match self.compression {
            Compression::None => DataError::Io(error),
            _ => DataError::DamagedFile {
                path: self.path.clone(),
                offset: self.offset + self.buffer.len() as u64,
                message: error.to_string(),
            },
        }
    }
}

/// Returns the index at which to cut a full buffer: after its last blank line, otherwise after its last line,
/// otherwise before its last character.
fn cut(buffer: &[u8]) -> usize {
    let paragraph = buffer.windows(2).rposition(|pair| pair == b"\n\n").map(|at| at + 2);
    let line = || buffer.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
    let character = || buffer.iter().rposition(|byte| byte & 0xC0 != 0x80).filter(|&at| at > 0);
    paragraph.or_else(line).or_else(character).unwrap_or(buffer.len())
}

fn describe_fields(record: &Map<String, Value>, wanted: &str) -> (String, String) {
    if record.is_empty() {
        return ("no fields".to_owned(), String::new());
    }
    let found = record.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let hint = match nearest(wanted, record.keys().map(String::as_str)) {
        Some(key) => format!("; did you mean `{key}`?"),
        None => "; set `field` of the source to the one that holds the text".to_owned(),
    };
    (found, hint)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceConfig;
    use crate::text::TextSource;
    use std::io::Write;

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let config = SourceConfig { name: "s".to_owned(), path, field: "text".to_owned(), weight: 1.0 };
        TextSource::open(&config)?.expect("text").documents().collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_files_are_one_document() {
        assert_eq!(read("a.txt", "\u{feff}红楼梦\r\n\n".as_bytes()).unwrap(), ["红楼梦\r\n\n"]);
        assert_eq!(read("a.txt.gz", &[gzip(b"one "), gzip(b"two")].concat()).unwrap(), ["one two"]);
    }

    #[test]
    fn long_plain_files_are_cut_at_paragraphs_and_lose_nothing() {
        let paragraph = format!("{}\n\n", "a line of text\n".repeat(1000));
        let text = paragraph.repeat(600);
        let documents = read("a.txt", text.as_bytes()).unwrap();
        assert!(documents.len() > 2 && documents.iter().all(|document| document.ends_with("\n\n")));
        assert_eq!(documents.concat(), text);
        let endless = "é".repeat(MAX_PLAIN * 3 / 4 + 1);
        assert_eq!(read("a.txt", endless.as_bytes()).unwrap().concat(), endless);
    }

    #[test]
    fn records_are_read_by_line() {
        let lines = b"\xEF\xBB\xBF{\"id\": 1, \"text\": \"a\\nb\"}\r\n\n{\"text\": \"\"}\n\
            {\"text\": \"\xE4\xB8\xAD\"}";
        assert_eq!(read("a.jsonl", lines).unwrap(), ["a\nb", "中"]);
    }

    #[test]
    fn bad_input_is_said_with_its_place() {
        let torn = gzip(&b"some text that is long enough".repeat(100));
        let cases: [(&str, &[u8]); 11] = [
            ("a.txt", b"ok \xFF"),
            ("a.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xFF\"}\n"),
            ("a.jsonl", b"{\"text\": \"a\"}\nnot json\n"),
            ("a.jsonl", b"{\"text\": \"a\""),
            ("a.jsonl", b"[1]"),
            ("a.jsonl", b"{\"txt\": \"a\", \"url\": \"b\"}"),
            ("a.jsonl", b"{\"content\": \"a\"}"),
            ("a.jsonl", b"{}"),
            ("a.jsonl", b"\n{\"text\": null}"),
            ("a.txt", b""),
            ("a.txt.gz", &torn[..torn.len() / 2]),
        ];
        let messages = cases.map(|(name, bytes)| {
            let message = read(name, bytes).unwrap_err().to_string();
            let dir = message.find('`').unwrap() + 1..message.find(name).unwrap();
            message.replace(&message[dir], "")
        });
        insta::assert_snapshot!(messages.join("\n"), @r"
        `a.txt`: invalid UTF-8 at byte 3; convert the file to UTF-8
        `a.jsonl`: invalid UTF-8 at byte 24 (line 2); convert the file to UTF-8
        `a.jsonl` line 2: not a JSON object: expected ident (column 2)
        `a.jsonl` line 1: not a JSON object: EOF while parsing an object (column 12)
        `a.jsonl` line 1: not a JSON object: invalid type: sequence, expected a map (column 0)
        `a.jsonl` line 1: no field `text`; the record has `txt`, `url`; did you mean `txt`?
        `a.jsonl` line 1: no field `text`; the record has `content`; set `field` of the source to the one that holds the text
        `a.jsonl` line 1: no field `text`; the record has no fields
        `a.jsonl` line 2: field `text` is null, expected a string
        `a.txt`: no text in 1 file(s); expected at least one document that isn't empty
        `a.txt.gz`: truncated or corrupt after 7 bytes of text: incomplete deflate stream; get the file again
        ");
    }
}
