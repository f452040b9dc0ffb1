//! Logs with one JSON object per line.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use fineline_files::write_atomically;
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// A log that lines are appended to.
///
/// If the disk takes no lines, they are buffered and written in order as soon as it does. An error of
/// [`append`](Self::append) or [`sync`](Self::sync) loses no line and leaves no partial line.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: fs::File,
    /// Number of bytes that are on disk.
    synced: u64,
    /// The bytes after them: lines that were passed to the system and aren't synced, and buffered lines.
    rest: Vec<u8>,
    /// Number of bytes of the rest that were passed to the system.
    taken: usize,
    /// Whether the file may end with a partial line.
    is_torn: bool,
}

/// Log lines that could not be written: everything after the first `at` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwrittenLines {
    /// Number of bytes in the file.
    pub at: u64,
    /// The lines.
    pub lines: String,
}

#[derive(Deserialize)]
struct LineStep {
    step: u64,
}

impl JsonLines {
    /// Opens the log at `path` to continue after `step`. Lines of later steps and a partial last line are
    /// dropped.
    ///
    /// # Errors
    /// [`RunError::Io`] if the log can't be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self, RunError> {
        if path.exists() {
            keep_until(path, step)?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        let synced = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, synced, rest: Vec::new(), taken: 0, is_torn: false })
    }

    /// Path of the log.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`RunError::Io`] if the line is buffered, because the disk didn't take it.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends one line per record in a single write, so that a kill leaves all of them or none.
    ///
    /// # Errors
    /// [`RunError::Io`] if lines are buffered, because the disk didn't take them.
    pub fn append_all(&mut self, records: &[impl Serialize]) -> Result<(), RunError> {
        self.rest.extend(to_lines(records, &self.path)?);
        self.write()
    }

    /// Waits until all lines are on disk.
    ///
    /// # Errors
    /// [`RunError::Io`] if the disk doesn't take them.
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.write()?;
        if let Err(error) = self.file.sync_data() {
            // The system may have dropped what it had accepted, so all of it is written again.
            (self.taken, self.is_torn) = (0, true);
            return Err(error.into());
        }
        self.synced += self.rest.len() as u64;
        self.rest.clear();
        self.taken = 0;
        Ok(())
    }

    /// Passes the buffered lines to the system.
    fn write(&mut self) -> Result<(), RunError> {
        if self.is_torn {
            self.file.set_len(self.synced + self.taken as u64)?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(&self.rest[self.taken..]) {
            // A part of them may have been written. If this fails too, the next attempt starts with it.
            self.is_torn = self.file.set_len(self.synced + self.taken as u64).is_err();
            return Err(error.into());
        }
        self.taken = self.rest.len();
        Ok(())
    }

    /// Number of buffered lines.
    #[must_use]
    pub fn unwritten_lines(&self) -> usize {
        self.rest[self.taken..].split(|&byte| byte == b'\n').count() - 1
    }

    /// Returns the buffered lines, if there are any.
    #[must_use]
    pub fn unwritten(&self) -> Option<UnwrittenLines> {
        let lines = &self.rest[self.taken..];
        (!lines.is_empty()).then(|| UnwrittenLines {
            at: self.synced + self.taken as u64,
            lines: String::from_utf8_lossy(lines).into_owned(),
        })
    }

    /// Writes lines into the log at `path` that could not be written at the time, unless the run has written
    /// them later.
    ///
    /// # Errors
    /// [`RunError::Io`] if the log can't be read or written.
    pub fn restore(path: &Path, unwritten: &UnwrittenLines) -> Result<(), RunError> {
        let text = if path.exists() { fs::read(path)? } else { Vec::new() };
        let at = unwritten.at as usize;
        let lines = unwritten.lines.as_bytes();
        let Some(there) = text.get(at..) else { return Ok(()) };
        if lines.starts_with(there) {
            write_atomically(path, &[&text[..at], lines].concat())?;
        }
        Ok(())
    }
}

/// Serializes one line per record. `path` is their destination, for errors.
pub(crate) fn to_lines(records: &[impl Serialize], path: &Path) -> Result<Vec<u8>, RunError> {
    let mut lines = Vec::new();
    for record in records {
        let broken = |source| RunError::Json { path: path.to_owned(), source };
        serde_json::to_writer(&mut lines, record).map_err(broken)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Drops the lines of steps after `step`, and a partial last line.
fn keep_until(path: &Path, step: u64) -> Result<(), RunError> {
    let text = fs::read(path)?;
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        if whole && serde_json::from_slice::<LineStep>(line).is_ok_and(|at| at.step <= step) {
            kept.extend_from_slice(line);
        }
    }
    if kept.len() != text.len() {
        write_atomically(path, &kept)?;
    }
    Ok(())
}

/// Reads all complete lines of the log at `path`. A missing file has none.
///
/// # Errors
/// [`RunError::JsonLine`] for a line that isn't valid JSON.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RunError> {
    Ok(LogFollower::new(path).read()?.records)
}

/// Reads a log while it grows: each call returns the lines since the last one.
#[derive(Debug)]
pub struct LogFollower<T> {
    path: PathBuf,
    /// Number of bytes of the lines read so far.
    end: u64,
    /// Number of lines read so far.
    lines: usize,
    /// The last line read. If it is no longer at its position, the log was rewritten, as on a resume.
    last_line: Vec<u8>,
    records: PhantomData<T>,
}

/// Lines read by one call.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLines<T> {
    /// Whether they follow the lines of earlier calls.
    pub kind: NewLinesKind,
    /// The lines.
    pub records: Vec<T>,
}

/// Relation of the lines of a [`NewLines`] to those read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewLinesKind {
    /// They follow the lines read so far.
    Appended,
    /// They are all lines. Those read so far are no longer valid.
    Rewritten,
}

impl<T: DeserializeOwned> LogFollower<T> {
    /// Follows the log at `path`, which doesn't have to exist yet, from its start.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (path, last_line) = (path.into(), Vec::new());
        Self { path, end: 0, lines: 0, last_line, records: PhantomData }
    }

    /// Reads the complete lines since the last call. A partial last line is left for the next one.
    ///
    /// # Errors
    /// [`RunError::JsonLine`] for a line that isn't valid JSON.
    pub fn read(&mut self) -> Result<NewLines<T>, RunError> {
        let mut kind = NewLinesKind::Appended;
        let mut records = Vec::new();
        if !self.path.exists() {
            return Ok(NewLines { kind, records });
        }
        let mut reader = BufReader::new(fs::File::open(&self.path)?);
        if !self.last_line_is_unchanged(&mut reader)? {
            kind = NewLinesKind::Rewritten;
            (self.end, self.lines) = (0, 0);
            self.last_line.clear();
        }
        reader.seek(SeekFrom::Start(self.end))?;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            let broken =
                |source| RunError::JsonLine { path: self.path.clone(), line: self.lines + 1, source };
            records.push(serde_json::from_slice(&line).map_err(broken)?);
            self.end += line.len() as u64;
            self.lines += 1;
            std::mem::swap(&mut self.last_line, &mut line);
            line.clear();
        }
        Ok(NewLines { kind, records })
    }

    /// Whether the last line read is still at its position.
    fn last_line_is_unchanged(&self, reader: &mut BufReader<fs::File>) -> Result<bool, RunError> {
        let length = self.last_line.len() as u64;
        reader.seek(SeekFrom::Start(self.end - length))?;
        let mut line = Vec::new();
        reader.take(length).read_to_end(&mut line)?;
        Ok(line == self.last_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn resuming_drops_later_lines() {
        let (_dir, path) = log("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
        JsonLines::resume(&path, 2).unwrap().append(&json!({"step": 3, "again": true})).unwrap();
        let lines: Vec<Value> = read_lines(&path).unwrap();
        assert_eq!(lines, [json!({"step": 1}), json!({"step": 2}), json!({"step": 3, "again": true})]);
    }

    #[test]
    fn resuming_drops_a_torn_line() {
        let (_dir, path) = log("{\"step\":1}\n{\"step\":2,\"lo");
        assert_eq!(read_lines::<Value>(&path).unwrap().len(), 1);
        JsonLines::resume(&path, 5).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    /// The disk of this test has one page.
    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_full_disk_does_not_take_is_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mount = |command: &str, arguments: &[&str]| {
            let output = std::process::Command::new(command).args(arguments).arg(dir.path()).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !mount("mount", &["-t", "tmpfs", "-o", "size=4k", "tmpfs"]) {
            return;
        }
        let path = dir.path().join("log.jsonl");
        let mut log = JsonLines::resume(&path, 0).unwrap();
        let mut failures = 0;
        for step in 0..200 {
            failures +=
                usize::from(log.append(&json!({"step": step, "text": "some bytes of a line"})).is_err());
        }
        let text = fs::read_to_string(&path).unwrap();
        let unwritten = log.unwritten().unwrap();
        let lines = log.unwritten_lines();
        assert!(mount("mount", &["-o", "remount,size=64k"]));
        log.append(&json!({"step": 200})).unwrap();
        log.sync().unwrap();
        let steps: Vec<u64> =
            read_lines::<Value>(&path).unwrap().iter().map(|line| line["step"].as_u64().unwrap()).collect();
        fs::write(&path, &text).unwrap();
        JsonLines::restore(&path, &unwritten).unwrap();
        let restored = read_lines::<Value>(&path).unwrap().len();
        drop(log);
        assert!(mount("umount", &[]));

        assert!(failures > 50 && text.ends_with('\n'), "{failures}: {text}");
        assert_eq!(lines, failures);
        assert_eq!(unwritten.at, text.len() as u64);
        assert_eq!(steps, (0..=200).collect::<Vec<_>>());
        assert_eq!(restored, 200);
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        let (_dir, path) = log("{\"step\":1}\nnonsense\n");
        let error = read_lines::<Value>(&path).unwrap_err().to_string();
        assert!(error.contains("log.jsonl:2"), "{error}");
    }

    #[test]
    fn a_growing_log_is_read_once() {
        let (dir, path) = log("{\"step\":1}\n{\"st");
        let mut follower = LogFollower::<Value>::new(&path);
        let mut read_new = || {
            let news = follower.read().unwrap();
            let steps: Vec<u64> = news.records.iter().map(|line| line["step"].as_u64().unwrap()).collect();
            (news.kind, steps)
        };
        assert_eq!(read_new(), (NewLinesKind::Appended, vec![1]));
        assert_eq!(read_new(), (NewLinesKind::Appended, vec![]));
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n").unwrap();
        assert_eq!(read_new(), (NewLinesKind::Appended, vec![2, 3]));
        // A run that resumed from step 1 and has got further than before.
        write_atomically(&path, b"{\"step\":1}\n{\"step\":20}\n{\"step\":30}\n{\"step\":4}\n").unwrap();
        assert_eq!(read_new(), (NewLinesKind::Rewritten, vec![1, 20, 30, 4]));
        fs::write(&path, "").unwrap();
        assert_eq!(read_new(), (NewLinesKind::Rewritten, vec![]));
        drop(dir);
        assert_eq!(read_new(), (NewLinesKind::Appended, vec![]));
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        let (_dir, path) = log("");
        let numbers = [0.1_f64, 1e-300, 5e-324, 2.225_073_858_507_201_4e-308, 123_456_789.123_456_78];
        JsonLines::resume(&path, 0).unwrap().append(&json!({"step": 0, "numbers": numbers})).unwrap();
        let lines: Vec<Value> = read_lines(&path).unwrap();
        assert_eq!(lines[0]["numbers"], json!(numbers));
    }
}
