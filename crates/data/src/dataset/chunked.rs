//! A dataset whose rows are stored in chunks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chunks::{
    ChunkDirectory, ChunkSequence, ChunkSource, ChunkSpec, RowFileConverter, cached_chunks_dir,
    make_chunks_from_texts,
};
use crate::config::ChunksConfig;
use crate::corpus::Corpus;
use crate::dataset::source::{DatasetParts, DatasetSource, RowSequence, ShardSummary, packing_tokens};
use crate::error::{DataError, Result};
use crate::packing::Packer;
use crate::progress::PreparationProgress;
use crate::shards::SourceTokens;
use crate::text::TextFile;
use crate::tokenizer::Tokenizer;
use crate::validation::ValidationSource;

/// Version of the rows. Changed when the same configuration and files would result in different rows.
const VERSION: &[u8] = b"fineline chunk rows 1";

/// Opens the chunks at `chunks.path`, or makes them from the text of the corpus.
pub(super) fn open_chunks(
    chunks: &ChunksConfig,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    (seed, global_batch_size): (u64, u64),
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<DatasetParts> {
    let config = corpus.config();
    let directory = match &chunks.path {
        Some(path) => ChunkDirectory::find(path)?,
        None => ChunkDirectory::find(&make_cached_chunks(chunks, corpus, tokenizer, progress)?)?,
    };
    let assignments: Vec<(u64, u64)> = chunks.assignments().collect();
    let read: BTreeSet<u64> = assignments.iter().map(|&(_, read)| read).collect();
    // All files are looked up before the first is read, so that a missing one is reported early.
    let files =
        read.iter().map(|&number| Ok((number, directory.chunk(number)?))).collect::<Result<Vec<_>>>()?;
    let converter = RowFileConverter {
        seq_len: config.seq_len,
        vocab_size: tokenizer.vocab_size(),
        cache: &config.cache_dir,
    };
    let mut opener = RowFileOpener { converter, tokenizer, progress };
    let open = |&(number, file): &(u64, &TextFile)| opener.open_chunk(number, file, global_batch_size);
    let sources = files.iter().map(open).collect::<Result<Vec<_>>>()?;
    let chunk_source = |&(number, read): &(u64, u64)| {
        let source = files.partition_point(|&(other, _)| other < read);
        ChunkSource { number, source, rows: sources[source].training.rows() }
    };
    let chunk_sources: Vec<ChunkSource> = assignments.iter().map(chunk_source).collect();
    let held_out = directory.validation.iter().map(|(name, file)| opener.open(name, file));
    let held_out = held_out.collect::<Result<Vec<_>>>()?;

    let mut hasher = blake3::Hasher::new();
    // The fingerprint depends on this spelling.
    let settings = format!(
        "(Numbering {{ seed: {seed}, batch: {global_batch_size} }}, {}, {:?}, {:?})",
        config.seq_len,
        chunks.shuffle,
        tokenizer.boundary_tokens().eos,
    );
    hasher.update(VERSION).update(settings.as_bytes());
    for &ChunkSource { number, source, .. } in &chunk_sources {
        hasher.update(&number.to_le_bytes()).update(sources[source].shards[0].fingerprint.as_bytes());
    }
    for source in &held_out {
        hasher.update(source.name.as_bytes()).update(source.shards[0].fingerprint.as_bytes());
    }
    let validation = held_out
        .into_iter()
        .map(|source| ValidationSource::new(&source.name, source.tokens, source.training, tokenizer.clone()));
    let validation = validation.collect();
    let sequence = ChunkSequence::new(chunk_sources, global_batch_size, chunks.shuffle, seed);
    let sequence = RowSequence::Chunks(sequence);
    Ok(DatasetParts { sources, sequence, validation, fingerprint: hasher.finalize().to_hex().to_string() })
}

/// Opens files of rows as sources with one shard.
struct RowFileOpener<'a> {
    converter: RowFileConverter<'a>,
    tokenizer: &'a Tokenizer,
    progress: &'a mut dyn FnMut(&PreparationProgress),
}

impl RowFileOpener<'_> {
    fn open_chunk(&mut self, number: u64, file: &TextFile, batch: u64) -> Result<DatasetSource> {
        let source = self.open(&format!("chunk {number}"), file)?;
        let rows = source.training.rows();
        if rows < batch {
            return Err(DataError::SmallChunk { path: file.path.clone(), rows, batch });
        }
        Ok(source)
    }

    fn open(&mut self, name: &str, file: &TextFile) -> Result<DatasetSource> {
        let shard = self.converter.shard(file, self.progress)?;
        if shard.info.rows == 0 {
            return Err(DataError::EmptyChunk { path: file.path.clone() });
        }
        let tokens = Arc::new(SourceTokens::open(std::iter::once(shard.prefix.as_path()))?);
        let training = Packer::of_rows(&tokens, self.converter.seq_len, packing_tokens(self.tokenizer));
        let shard = ShardSummary {
            prefix: shard.prefix,
            fingerprint: shard.fingerprint,
            max_token_id: Some(shard.info.max_token_id),
            text_bytes: None,
        };
        let (name, purpose) = (name.to_owned(), String::new());
        Ok(DatasetSource { name, purpose, tokens, training, validation_tokens: 0, shards: vec![shard] })
    }
}

/// Makes chunks from the sources of the mixture in the cache, unless they exist, and returns their directory.
fn make_cached_chunks(
    chunks: &ChunksConfig,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<PathBuf> {
    let config = corpus.config();
    let texts = corpus.texts()?;
    let spec = ChunkSpec {
        row_len: config.seq_len + 1,
        chunks: chunks.count,
        validation_rows: chunks.validation_rows,
        // The validation rows are the same for all seeds of a run.
        seed: 0,
    };
    let dir = cached_chunks_dir(&texts, tokenizer, &spec, &config.cache_dir)?;
    make_chunks_from_texts(&texts, tokenizer, &spec, &dir, progress)?;
    Ok(dir)
}
