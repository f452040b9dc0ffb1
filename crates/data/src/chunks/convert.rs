//! Conversion of files of rows to token shards.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fineline_files::write_atomically;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::describe_json_error;
use crate::error::{DataError, Result};
use crate::paths::with_suffix;
use crate::progress::PreparationProgress;
use crate::sampled_hash::hash_sampled;
use crate::shards::{Shard, ShardWriter};
use crate::text::{TextFile, open_text};

/// Version of the conversion. Changed when the same file would result in a different shard.
const VERSION: &[u8] = b"fineline chunks 1";

/// Bytes of lines in memory, per thread.
const BATCH_BYTES: usize = 4 << 20;

/// Upper bounds of the bytes that an id takes in JSON with its separators, and that the rest of a line takes.
const ID_BYTES: usize = 64;
const NAME_BYTES: usize = 64 << 10;

/// Converts files of rows to token shards once, and keeps them in a cache.
///
/// JSON is four times as large as its ids, and only a shard can locate a row in O(1), in particular in a
/// compressed file. Each file is therefore read once, which is also when all its rows are validated.
pub(crate) struct RowFileConverter<'a> {
    pub(crate) seq_len: usize,
    /// Vocabulary size of the tokenizer.
    pub(crate) vocab_size: usize,
    pub(crate) cache: &'a Path,
}

/// A file of rows as a shard, in which each row is a document.
#[derive(Clone, Debug)]
pub(crate) struct RowShard {
    pub(crate) prefix: PathBuf,
    /// Fingerprint of the file.
    pub(crate) fingerprint: blake3::Hash,
    pub(crate) info: RowShardInfo,
}

/// Content of `PREFIX.rows.json`, which is written last: a shard that has this file is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowShardInfo {
    pub(crate) rows: u64,
    pub(crate) max_token_id: u32,
}

/// A line of a chunk. Amber's lines also have the name of their source, which is ignored.
#[derive(Deserialize)]
struct RowRecord {
    token_ids: Vec<u32>,
}

impl RowFileConverter<'_> {
    /// Returns the shard of a file, from the cache if possible.
    pub(crate) fn shard(
        &self,
        file: &TextFile,
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<RowShard> {
        let mut hasher = blake3::Hasher::new();
        hash_sampled(&file.path, &mut hasher)?;
        hasher.update(file.kind().as_bytes());
        let fingerprint = hasher.finalize();
        let prefix = self.cache.join(self.cache_name(file, &fingerprint));
        let info = match whole(&prefix) {
            Some(info) => info,
            None => self.convert(file, &prefix, progress)?,
        };
        Ok(RowShard { prefix, fingerprint, info })
    }

    fn cache_name(&self, file: &TextFile, fingerprint: &blake3::Hash) -> String {
        let mut key = blake3::Hasher::new();
        key.update(VERSION).update(fingerprint.as_bytes());
        key.update(format!("{:?}", (self.seq_len, self.vocab_size)).as_bytes());
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        format!("chunk-{stem}-{}", &key.finalize().to_hex()[..16])
    }

    fn convert(
        &self,
        file: &TextFile,
        prefix: &Path,
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<RowShardInfo> {
        let total_bytes = fs_err::metadata(&file.path)?.len();
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut writer = ShardWriter::create(prefix, self.vocab_size)?;
        let mut lines = LineReader::open(file, self.longest_line())?;
        loop {
            let batch = lines.next_batch()?;
            if batch.is_empty() {
                break;
            }
            let rows: Vec<_> = batch.par_iter().map(|(line, bytes)| self.parse(file, *line, bytes)).collect();
            rows.into_iter().try_for_each(|row| writer.push(&row?))?;
            progress(&PreparationProgress {
                source: &name,
                bytes: lines.bytes_read.load(Ordering::Relaxed),
                total_bytes,
                documents: writer.documents(),
                tokens: writer.tokens(),
            });
        }
        let written = writer.finish()?;
        let info = RowShardInfo { rows: written.documents, max_token_id: written.max_token_id };
        let json = serde_json::to_vec(&info).expect("two numbers");
        write_atomically(&info_path(prefix), &json)?;
        Ok(info)
    }

    fn longest_line(&self) -> usize {
        ID_BYTES * (self.seq_len + 1) + NAME_BYTES
    }

    fn parse(&self, file: &TextFile, line: u64, bytes: &[u8]) -> Result<Vec<u32>> {
        let path = || file.path.clone();
        if bytes.len() > self.longest_line() {
            let message = format!("it is longer than a row of {} ids can be", self.seq_len + 1);
            return Err(DataError::InvalidRow { path: path(), line, message });
        }
        let RowRecord { token_ids } = serde_json::from_slice(bytes).map_err(|error| {
            DataError::InvalidRow { path: path(), line, message: describe_json_error(&error) }
        })?;
        let expected = self.seq_len + 1;
        if token_ids.len() != expected {
            return Err(DataError::RowLength { path: path(), line, found: token_ids.len(), expected });
        }
        match token_ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(&id) => Err(DataError::RowId { path: path(), line, id, vocab_size: self.vocab_size }),
            None => Ok(token_ids),
        }
    }
}

/// Returns the information about a shard, if it is complete.
fn whole(prefix: &Path) -> Option<RowShardInfo> {
    let json = fs_err::read(info_path(prefix)).ok()?;
    let info: Option<RowShardInfo> = serde_json::from_slice(&json).ok();
    let whole = info.filter(|info| Shard::open(prefix).is_ok_and(|shard| shard.documents() == info.rows));
    if whole.is_none() {
        tracing::warn!("making the damaged {} again", prefix.display());
        // Without this file, the shard counts as incomplete.
        let _ = fs_err::remove_file(info_path(prefix));
    }
    whole
}

fn info_path(prefix: &Path) -> PathBuf {
    with_suffix(prefix, ".rows.json")
}

/// Reader of the lines of a file that aren't blank, with their numbers.
struct LineReader<'a> {
    file: &'a TextFile,
    reader: Box<dyn BufRead + Send>,
    bytes_read: Arc<AtomicU64>,
    longest: usize,
    line: u64,
    /// Number of bytes of text that were read.
    offset: u64,
}

impl<'a> LineReader<'a> {
    fn open(file: &'a TextFile, longest: usize) -> Result<Self> {
        let bytes_read = Arc::<AtomicU64>::default();
        let reader = open_text(file, Arc::clone(&bytes_read))?;
        Ok(Self { file, reader, bytes_read, longest, line: 0, offset: 0 })
    }

    /// Returns the next lines, about as many as are worth parsing in parallel, or none at the end. A line
    /// that is longer than any valid row is truncated, and its rest is returned as further lines.
    fn next_batch(&mut self) -> Result<Vec<(u64, Vec<u8>)>> {
        let wanted = BATCH_BYTES * rayon::current_num_threads();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < wanted {
            let mut line = Vec::new();
            let mut limited = self.reader.by_ref().take(self.longest as u64 + 1);
            let read = limited.read_until(b'\n', &mut line).map_err(|error| self.damaged(&error))?;
            if read == 0 {
                break;
            }
            self.line += 1;
            self.offset += read as u64;
            bytes += read;
            if !line.trim_ascii().is_empty() {
                batch.push((self.line, line));
            }
        }
        Ok(batch)
    }

    fn damaged(&self, error: &std::io::Error) -> DataError {
        DataError::DamagedFile {
            path: self.file.path.clone(),
            offset: self.offset,
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(dir: &Path, name: &str, bytes: &[u8]) -> TextFile {
        let path = dir.join(name);
        fs_err::write(&path, bytes).unwrap();
        TextFile::of(&path).unwrap()
    }

    fn converter(cache: &Path) -> RowFileConverter<'_> {
        RowFileConverter { seq_len: 2, vocab_size: 300, cache }
    }

    fn rows(shard: &RowShard) -> Vec<Vec<u32>> {
        let opened = Shard::open(&shard.prefix).unwrap();
        let row = |number| {
            let mut ids = Vec::new();
            opened.copy(opened.document_start(number)..opened.document_start(number + 1), &mut ids);
            ids
        };
        (0..opened.documents()).map(row).collect()
    }

    #[test]
    fn rows_are_read_whatever_they_are_packed_in() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            b"{\"token_ids\": [1, 2, 299], \"source\": \"web\"}\n\n{\"source\":\"b\",\"token_ids\":[0,0,0]}";
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text).unwrap();
        let zst = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        let packed = [("a.jsonl", text.to_vec()), ("b.jsonl.gz", gz.finish().unwrap()), ("c.jsonl.zst", zst)];
        for (name, bytes) in packed {
            let file = file(dir.path(), name, &bytes);
            let shard = converter(dir.path()).shard(&file, &mut |_| ()).unwrap();
            assert_eq!(rows(&shard), [[1, 2, 299], [0, 0, 0]]);
            assert_eq!(shard.info, RowShardInfo { rows: 2, max_token_id: 299 });
        }
    }

    #[test]
    fn a_file_is_read_once_until_it_changes_or_its_shard_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let row = |id: u32| format!("{{\"token_ids\": [{id}, 2, 3]}}\n");
        let steps = |text: &str| {
            let mut steps = 0;
            let file = file(dir.path(), "train_000.jsonl", text.as_bytes());
            let shard = converter(dir.path()).shard(&file, &mut |_| steps += 1).unwrap();
            (steps, shard)
        };
        let (first, shard) = steps(&row(1));
        assert_eq!((first, steps(&row(1)).0), (1, 0));
        fs_err::write(with_suffix(&shard.prefix, ".bin"), "x").unwrap();
        assert_eq!(steps(&row(1)).0, 1);
        let (again, other) = steps(&row(7));
        assert_eq!((again, rows(&other)), (1, vec![vec![7, 2, 3]]));
        assert_ne!(other.prefix, shard.prefix);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_with_its_line_and_leaves_no_shard() {
        let good = "{\"token_ids\": [1, 2, 3]}\n";
        let endless = format!("{{\"token_ids\": [{}", "1, ".repeat(100_000));
        let cases = [
            "{\"token_ids\": [1, 2]}",
            "{\"token_ids\": [1, 2, 3, 4]}",
            "{\"token_ids\": [1, 300, 3]}",
            "{\"token_ids\": [1, -2, 3]}",
            "{\"token_ids\": [1, 2.5, 3]}",
            "{\"token_ids\": \"1 2 3\"}",
            "{\"tokens\": [1, 2, 3]}",
            "{\"token_ids\": [1, 2,",
            "[1, 2, 3]",
            endless.as_str(),
        ];
        let messages = cases.map(|case| {
            let dir = tempfile::tempdir().unwrap();
            let cache = dir.path().join("cache");
            let file = file(dir.path(), "train_000.jsonl", format!("{good}\n{case}\n{good}").as_bytes());
            let error = converter(&cache).shard(&file, &mut |_| ()).unwrap_err();
            assert_eq!(fs_err::read_dir(&cache).unwrap().count(), 0);
            error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
        });
        insta::assert_snapshot!(messages.join("\n"), @r#"
        `DIR/train_000.jsonl` line 3: 2 token ids, expected 3 (data.seq_len + 1)
        `DIR/train_000.jsonl` line 3: 4 token ids, expected 3 (data.seq_len + 1)
        `DIR/train_000.jsonl` line 3: token id 300 is out of range, expected ids below 300; the rows were made with another tokenizer
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: invalid value: integer `-2`, expected u32 (column 20)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: invalid type: floating point `2.5`, expected u32 (column 21)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: invalid type: string "1 2 3", expected a sequence (column 21)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: missing field `token_ids` (column 21)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: EOF while parsing a value (column 0)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: invalid type: integer `1`, expected a sequence (column 2)
        `DIR/train_000.jsonl` line 3: not a row {"token_ids": [...]}: it is longer than a row of 3 ids can be
        "#);
    }

    #[test]
    fn a_torn_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&b"{\"token_ids\": [1, 2, 3]}\n".repeat(500)).unwrap();
        let bytes = gz.finish().unwrap();
        let file = file(dir.path(), "train_000.jsonl.gz", &bytes[..bytes.len() / 2]);
        let error = converter(dir.path()).shard(&file, &mut |_| ()).unwrap_err();
        assert!(matches!(error, DataError::DamagedFile { .. }), "{error}");
    }
}
