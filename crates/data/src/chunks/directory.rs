//! The files of a directory of chunks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
use crate::text::{TextFile, TextFormat};

/// A directory of chunks.
#[derive(Debug)]
pub(crate) struct ChunkDirectory {
    path: PathBuf,
    chunks: BTreeMap<u64, TextFile>,
    /// Files of validation rows, by the name of their source.
    pub(crate) validation: BTreeMap<String, TextFile>,
}

impl ChunkDirectory {
    /// Finds `train_K.jsonl` and `valid_NAME.jsonl`, compressed or not. Other files are ignored.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(DataError::ChunksNotFound { path: path.to_owned() });
        }
        let mut dir = Self { path: path.to_owned(), chunks: BTreeMap::new(), validation: BTreeMap::new() };
        let mut entries =
            fs_err::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        entries.sort();
        entries.into_iter().filter_map(|path| rows_file(&path)).try_for_each(|file| dir.add(file))?;
        Ok(dir)
    }

    fn add(&mut self, (name, file): (String, TextFile)) -> Result<()> {
        if let Some(source) = name.strip_prefix("valid_") {
            self.validation.insert(source.to_owned(), file);
            return Ok(());
        }
        let Some(number) = name.strip_prefix("train_").and_then(number) else { return Ok(()) };
        match self.chunks.entry(number) {
            Entry::Vacant(place) => {
                place.insert(file);
                Ok(())
            }
            Entry::Occupied(other) => {
                let first = other.get().path.clone();
                Err(DataError::DuplicateChunk { first, second: file.path, number })
            }
        }
    }

    /// Returns whether there is neither a chunk nor a file of validation rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.validation.is_empty()
    }

    /// Returns the file of a chunk.
    pub(crate) fn chunk(&self, number: u64) -> Result<&TextFile> {
        self.chunks.get(&number).ok_or_else(|| DataError::MissingChunk { dir: self.path.clone(), number })
    }
}

/// Returns the name of a file of rows without its extensions, or `None` for another file.
fn rows_file(path: &Path) -> Option<(String, TextFile)> {
    let file = TextFile::of(path).filter(|file| file.format == TextFormat::Jsonl)?;
    let name = path.file_name()?.to_str()?;
    Some((name.rsplit_once(".json")?.0.to_owned(), file))
}

/// Parses a number that consists of digits only. `parse` alone would accept a sign.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(names: &[&str]) -> (tempfile::TempDir, Result<ChunkDirectory>) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs_err::write(dir.path().join(name), "").unwrap();
        }
        let found = ChunkDirectory::find(dir.path());
        (dir, found)
    }

    #[test]
    fn chunks_are_found_under_every_name_that_they_come_with() {
        let names = [
            "train_000.jsonl",
            "train_1.jsonl.gz",
            "train_10.jsonl.zst",
            "train_+2.jsonl",
            "train_x.jsonl",
            "train_4.txt",
            "valid_web.jsonl",
            "README.md",
        ];
        let (_dir, found) = dir(&names);
        let found = found.unwrap();
        assert_eq!(found.chunks.keys().copied().collect::<Vec<_>>(), [0, 1, 10]);
        assert_eq!(found.validation.keys().collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        let (lacking, found) = dir(&["train_000.jsonl", "train_002.jsonl"]);
        let missing = found.unwrap().chunk(1).unwrap_err().to_string();
        let (doubled, found) = dir(&["train_007.jsonl", "train_7.jsonl.gz"]);
        let twice = found.unwrap_err().to_string();
        let nowhere = ChunkDirectory::find(Path::new("no/where")).unwrap_err().to_string();
        let messages = [missing, twice, nowhere].join("\n");
        let messages = messages.replace(lacking.path().to_str().unwrap(), "LACKING");
        let messages = messages.replace(doubled.path().to_str().unwrap(), "DOUBLED");
        insta::assert_snapshot!(messages, @r"
        `LACKING`: chunk 1 is missing; expected `train_001.jsonl` (or .jsonl.gz, .jsonl.zst); add the file, or list 1 in `data.chunks.skip`
        `DOUBLED/train_007.jsonl` and `DOUBLED/train_7.jsonl.gz` are both chunk 7; remove one of them
        `no/where`: no such directory; expected a directory of chunks
        ");
    }
}
