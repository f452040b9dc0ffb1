//! Creation of chunks from documents, as amber-data-prep creates them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fineline_files::{AtomicFile, create_directory, remove_temporary_files, write_atomically};
use fineline_random::Permutation;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::chunks::directory::ChunkDirectory;
use crate::config::SourceConfig;
use crate::error::{DataError, Result};
use crate::paths::with_suffix;
use crate::progress::PreparationProgress;
use crate::shards::{Shard, ShardWriter};
use crate::text::TextSource;
use crate::tokenizer::Tokenizer;

/// Version of the files. Changed when the same text and settings would result in different files.
const VERSION: &[u8] = b"fineline amber chunks 1";

/// Name of the record of a directory of chunks. It is written first, so that the origin of incomplete chunks
/// is known, and again at the end.
const RECORD: &str = "chunks.json";

/// Name of the temporary directory of rows.
const ROWS: &str = ".rows";

/// Parameters of the chunks to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSpec {
    /// Number of ids per row: the inputs, and the target of the last input.
    pub row_len: usize,
    /// Number of chunks.
    pub chunks: u64,
    /// Number of rows of each source that are held out for validation.
    pub validation_rows: u64,
    /// Seed of the draw of validation rows.
    pub seed: u64,
}

/// Record of chunks that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSetInfo {
    /// BLAKE3 hash of everything that determines the files.
    fingerprint: String,
    /// Whether all files exist.
    complete: bool,
    /// Number of rows per chunk.
    pub rows: u64,
    /// Number of rows that are in no file, because they are too few to add one row to each chunk.
    pub unused_rows: u64,
    /// Names of the sources in the order of their rows within a chunk.
    pub sources: Vec<String>,
}

/// Makes `train_000.jsonl`, ... and `valid_NAME.jsonl` in `dir` from the documents of the sources.
///
/// This follows amber-data-prep: documents are tokenized with the BOS and EOS that the tokenizer is
/// configured for, concatenated per source and cut into rows that share no token. Rows are dealt to the
/// chunks in turn, and are ordered by source within a chunk, in alphabetic order. Tokens that don't fill a
/// row and rows that don't fill a round of all chunks are skipped. One thing differs: the validation rows of
/// amber-data-prep are a random draw that cannot be repeated, and here they are a keyed draw.
///
/// Every file appears only when it is complete. After a kill, the same call resumes, and the files are the
/// same. Memory is bounded by the longest documents and four bytes per row.
///
/// # Errors
/// [`DataError::Source`] around the error of a source, for example [`DataError::AlreadyTokenized`] or
/// [`DataError::TooFewRows`]. [`DataError::OtherChunks`] if `dir` contains other chunks,
/// [`DataError::ChunksLocked`] if another process is making chunks there, and [`DataError::Io`] if a file
/// cannot be read or written.
pub fn make_chunks(
    sources: &[SourceConfig],
    tokenizer: &Tokenizer,
    spec: &ChunkSpec,
    dir: &Path,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<ChunkSetInfo> {
    let open = |source: &SourceConfig| {
        let already = || DataError::AlreadyTokenized { path: source.path.clone() };
        let text = TextSource::open(source).and_then(|text| text.ok_or_else(already));
        Ok((source.name.clone(), text.map_err(|error| error.in_source(&source.name))?))
    };
    let opened = sources.iter().map(open).collect::<Result<Vec<_>>>()?;
    let texts: Vec<(&str, &TextSource)> = opened.iter().map(|(name, text)| (name.as_str(), text)).collect();
    make_chunks_from_texts(&texts, tokenizer, spec, dir, progress)
}

/// Makes chunks from text whose files have been found. See [`make_chunks`].
pub(crate) fn make_chunks_from_texts(
    texts: &[(&str, &TextSource)],
    tokenizer: &Tokenizer,
    spec: &ChunkSpec,
    dir: &Path,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<ChunkSetInfo> {
    let mut texts = texts.to_vec();
    texts.sort_by_key(|(name, _)| *name);
    let fingerprint = fingerprint(&texts, tokenizer, spec)?;
    create_directory(dir)?;
    let lock = fs_err::File::create(dir.join(".lock"))?;
    if lock.file().try_lock().is_err() {
        return Err(DataError::ChunksLocked { dir: dir.to_owned() });
    }
    let record = dir.join(RECORD);
    match stored(&record)? {
        Some(made) if made.fingerprint != fingerprint => {
            return Err(DataError::OtherChunks { dir: dir.to_owned() });
        }
        Some(made) if made.complete && missing(&texts, spec, dir).is_empty() => return Ok(made),
        Some(_) => {}
        None => refuse_unrecorded(dir)?,
    }
    let sources = texts.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut made = ChunkSetInfo { fingerprint, complete: false, rows: 0, unused_rows: 0, sources };
    remove_temporary_files(dir)?;
    write_record(&record, &made)?;
    let maker = ChunkMaker { tokenizer, spec, dir };
    let rows = maker.cut(&texts, progress)?;
    made.rows = rows.iter().map(|source| source.per_chunk).sum();
    made.unused_rows = rows.iter().map(|source| source.training() - source.per_chunk * spec.chunks).sum();
    maker.write_files(&rows, progress)?;
    drop(rows);
    made.complete = true;
    write_record(&record, &made)?;
    fs_err::remove_dir_all(dir.join(ROWS))?;
    Ok(made)
}

/// Returns the directory in a cache for the chunks of these texts. Its name contains a hash of everything
/// that determines them.
pub(crate) fn cached_chunks_dir(
    texts: &[(&str, &TextSource)],
    tokenizer: &Tokenizer,
    spec: &ChunkSpec,
    cache: &Path,
) -> Result<PathBuf> {
    let mut texts = texts.to_vec();
    texts.sort_by_key(|(name, _)| *name);
    Ok(cache.join(format!("chunks-{}", &fingerprint(&texts, tokenizer, spec)?[..16])))
}

/// Returns the hash of everything that determines the files. The texts must be in alphabetic order.
fn fingerprint(texts: &[(&str, &TextSource)], tokenizer: &Tokenizer, spec: &ChunkSpec) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    // The fingerprint depends on this spelling.
    let boundary_tokens = tokenizer.boundary_tokens().fingerprint_text();
    let settings = format!("({spec:?}, {:?}, {boundary_tokens})", tokenizer.fingerprint());
    hasher.update(VERSION).update(settings.as_bytes());
    for (name, text) in texts {
        let text = text.fingerprint().map_err(|error| error.in_source(name))?;
        hasher.update(format!("{:?}", (name, text)).as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn stored(record: &Path) -> Result<Option<ChunkSetInfo>> {
    if !record.is_file() {
        return Ok(None);
    }
    let bytes = fs_err::read(record)?;
    let wrong = |error: serde_json::Error| DataError::InvalidRow {
        path: record.to_owned(),
        line: error.line() as u64,
        message: error.to_string(),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(wrong)
}

/// Returns an error if there are chunks without a record, because they would be taken for chunks of this run.
fn refuse_unrecorded(dir: &Path) -> Result<()> {
    let found = ChunkDirectory::find(dir)?;
    if !found.is_empty() {
        return Err(DataError::OtherChunks { dir: dir.to_owned() });
    }
    let rows = dir.join(ROWS);
    if rows.is_dir() {
        fs_err::remove_dir_all(rows)?;
    }
    Ok(())
}

fn write_record(record: &Path, made: &ChunkSetInfo) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(made).expect("a flat struct of numbers and strings");
    json.push(b'\n');
    Ok(write_atomically(record, &json)?)
}

fn train_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("train_{number:03}.jsonl"))
}

fn validation_file(dir: &Path, source: &str) -> PathBuf {
    dir.join(format!("valid_{source}.jsonl"))
}

/// Returns the files that don't exist yet.
fn missing(texts: &[(&str, &TextSource)], spec: &ChunkSpec, dir: &Path) -> Vec<PathBuf> {
    let held_out = texts.iter().filter(|_| spec.validation_rows > 0);
    let validation = held_out.map(|(name, _)| validation_file(dir, name));
    let train = (0..spec.chunks).map(|number| train_file(dir, number));
    validation.chain(train).filter(|path| !path.is_file()).collect()
}

/// The rows of a source.
struct SourceRows {
    name: String,
    shard: Shard,
    /// Numbers of the validation rows, ascending.
    held_out: Vec<u64>,
    /// Number of rows per chunk.
    per_chunk: u64,
}

impl SourceRows {
    fn training(&self) -> u64 {
        self.shard.documents() - self.held_out.len() as u64
    }

    fn ids(&self, row: u64) -> Vec<u32> {
        let mut ids = Vec::new();
        self.shard.copy(self.shard.document_start(row)..self.shard.document_start(row + 1), &mut ids);
        ids
    }

    /// Returns the number of the `nth` training row. Validation rows are not counted in `nth`.
    fn training_row(&self, nth: u64) -> u64 {
        let training_before = |index: usize| self.held_out[index] - index as u64;
        let (mut before, mut end) = (0, self.held_out.len());
        while before < end {
            let middle = usize::midpoint(before, end);
            if training_before(middle) <= nth { before = middle + 1 } else { end = middle }
        }
        nth + before as u64
    }
}

struct ChunkMaker<'a> {
    tokenizer: &'a Tokenizer,
    spec: &'a ChunkSpec,
    dir: &'a Path,
}

impl ChunkMaker<'_> {
    /// Cuts each source into rows, unless that is done already.
    fn cut(
        &self,
        texts: &[(&str, &TextSource)],
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<Vec<SourceRows>> {
        let rows_dir = self.dir.join(ROWS);
        create_directory(&rows_dir)?;
        remove_temporary_files(&rows_dir)?;
        let mut cut = Vec::new();
        for (number, &(name, text)) in texts.iter().enumerate() {
            let prefix = rows_dir.join(number.to_string());
            let in_source = |error: DataError| error.in_source(name);
            // The index of a shard is written last.
            if !with_suffix(&prefix, ".idx").is_file() {
                self.cut_source((name, text), &prefix, progress).map_err(in_source)?;
            }
            cut.push(self.count(name, Shard::open(&prefix)?).map_err(in_source)?);
        }
        Ok(cut)
    }

    fn cut_source(
        &self,
        (name, text): (&str, &TextSource),
        prefix: &Path,
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<()> {
        let total_bytes = text.file_bytes()?;
        let mut writer = ShardWriter::create(prefix, self.tokenizer.vocab_size())?;
        let (mut documents, mut read, mut rest) = (text.documents(), 0, Vec::new());
        loop {
            let batch = documents.next_batch()?;
            if batch.is_empty() {
                break;
            }
            read += batch.len() as u64;
            let encoded: Vec<_> =
                batch.par_iter().map(|document| self.tokenizer.encode_document(document)).collect();
            for document in encoded {
                rest.extend(document?);
                let whole = rest.len() - rest.len() % self.spec.row_len;
                rest[..whole].chunks(self.spec.row_len).try_for_each(|row| writer.push(row))?;
                rest.drain(..whole);
            }
            let (bytes, tokens) = (documents.bytes_read(), writer.tokens());
            progress(&PreparationProgress { source: name, bytes, total_bytes, documents: read, tokens });
        }
        writer.finish()?;
        Ok(())
    }

    /// Draws the validation rows, and computes the number of rows per chunk.
    fn count(&self, name: &str, shard: Shard) -> Result<SourceRows> {
        let (rows, &ChunkSpec { chunks, validation_rows: validation, seed, .. }) =
            (shard.documents(), self.spec);
        let per_chunk = rows.saturating_sub(validation) / chunks;
        if per_chunk == 0 {
            return Err(DataError::TooFewRows { rows, validation, chunks });
        }
        let order = Permutation::new(seed, &format!("data/chunks/validation/{name}"), 0, rows);
        let mut held_out: Vec<u64> = (0..validation).map(|index| order.get(index)).collect();
        held_out.sort_unstable();
        Ok(SourceRows { name: name.to_owned(), shard, held_out, per_chunk })
    }

    /// Writes the files that don't exist yet, with all threads in parallel.
    fn write_files(
        &self,
        sources: &[SourceRows],
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<()> {
        let mut held_out = sources.iter().filter(|_| self.spec.validation_rows > 0);
        held_out.try_for_each(|source| self.write_validation(source))?;
        let numbers: Vec<u64> = (0..self.spec.chunks).collect();
        let rows: u64 = sources.iter().map(|source| source.per_chunk).sum();
        let bytes_of = |chunks: u64| chunks * rows * self.spec.row_len as u64 * size_of::<u16>() as u64;
        let mut done = 0;
        for group in numbers.chunks(rayon::current_num_threads()) {
            group.par_iter().try_for_each(|&number| self.write_chunk(sources, number))?;
            done += group.len() as u64;
            let tokens = done * rows * self.spec.row_len as u64;
            progress(&PreparationProgress {
                source: "chunks",
                bytes: bytes_of(done),
                total_bytes: bytes_of(self.spec.chunks),
                documents: done * rows,
                tokens,
            });
        }
        Ok(())
    }

    fn write_validation(&self, source: &SourceRows) -> Result<()> {
        let path = validation_file(self.dir, &source.name);
        let Some(mut file) = RowFileWriter::create(&path)? else { return Ok(()) };
        source.held_out.iter().try_for_each(|&row| file.push(&source.ids(row), &source.name))?;
        file.commit()
    }

    fn write_chunk(&self, sources: &[SourceRows], number: u64) -> Result<()> {
        let Some(mut file) = RowFileWriter::create(&train_file(self.dir, number))? else { return Ok(()) };
        for source in sources {
            for round in 0..source.per_chunk {
                let row = source.training_row(round * self.spec.chunks + number);
                file.push(&source.ids(row), &source.name)?;
            }
        }
        file.commit()
    }
}

/// Writer of a file of rows.
struct RowFileWriter {
    file: AtomicFile,
    line: String,
}

impl RowFileWriter {
    /// Returns `None` if the file exists, because then it is complete.
    fn create(path: &Path) -> Result<Option<Self>> {
        if path.is_file() {
            return Ok(None);
        }
        Ok(Some(Self { file: AtomicFile::create(path)?, line: String::new() }))
    }

    /// Appends a row, formatted as by Python's `json.dumps`.
    fn push(&mut self, ids: &[u32], source: &str) -> Result<()> {
        self.line.clear();
        self.line.push_str("{\"token_ids\": [");
        for (index, id) in ids.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let _ = write!(self.line, "{comma}{id}");
        }
        let name = serde_json::to_string(source).expect("a string");
        let _ = writeln!(self.line, "], \"source\": {name}}}");
        Ok(self.file.write_all(self.line.as_bytes())?)
    }

    fn commit(self) -> Result<()> {
        Ok(self.file.commit()?)
    }
}

#[cfg(test)]
mod tests;
