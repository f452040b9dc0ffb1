//! A data set whose rows come in chunks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Dataset, KnownShard, Numbering, Order, Source, marks};
use crate::chunks::{ChunkFolder, ChunkSequence, ChunkSpec, Converter, Placed, chunks_folder, make};
use crate::packing::Packer;
use crate::text::TextFile;
use crate::tokens::Tokens;
use crate::validation::ValidationSource;
use crate::{ChunksConfig, Corpus, DataError, Progress, Result, Tokenizer};

/// Changes when the same configuration and files would give other rows.
const VERSION: &[u8] = b"fineline chunk rows 1";

impl Dataset {
    /// Opens the chunks at `chunks.path`, or makes them of the corpus.
    pub(super) fn open_chunks(
        chunks: &ChunksConfig,
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        numbering: Numbering,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self> {
        let config = corpus.config();
        let folder = match &chunks.path {
            Some(path) => ChunkFolder::find(path)?,
            None => ChunkFolder::find(&made_chunks(chunks, corpus, tokenizer, progress)?)?,
        };
        let places: Vec<(u64, u64)> = chunks.places().collect();
        let read: BTreeSet<u64> = places.iter().map(|&(_, read)| read).collect();
        // That one is missing is told before the first is read.
        let files =
            read.iter().map(|&number| Ok((number, folder.chunk(number)?))).collect::<Result<Vec<_>>>()?;
        let converter =
            Converter { seq_len: config.seq_len, ids: tokenizer.vocab_size(), cache: &config.cache_dir };
        let mut reader = RowReader { converter, tokenizer, progress };
        let chunk = |&(number, file): &(u64, &TextFile)| reader.chunk(number, file, numbering.batch);
        let sources = files.iter().map(chunk).collect::<Result<Vec<_>>>()?;
        let place = |&(number, read): &(u64, u64)| {
            let source = files.partition_point(|&(other, _)| other < read);
            Placed { number, source, rows: sources[source].training.rows() }
        };
        let placed: Vec<Placed> = places.iter().map(place).collect();
        let held_out = folder.validation.iter().map(|(name, file)| reader.open(name, file));
        let held_out = held_out.collect::<Result<Vec<_>>>()?;

        let mut hasher = blake3::Hasher::new();
        let setting = (numbering, config.seq_len, chunks.shuffle, tokenizer.marks().eos);
        hasher.update(VERSION).update(format!("{setting:?}").as_bytes());
        for &Placed { number, source, .. } in &placed {
            hasher.update(&number.to_le_bytes()).update(sources[source].fingerprint().as_bytes());
        }
        for source in &held_out {
            hasher.update(source.name.as_bytes()).update(source.fingerprint().as_bytes());
        }
        let validation = held_out.into_iter().map(|source| {
            ValidationSource::new(&source.name, source.tokens, source.training, tokenizer.clone())
        });
        Ok(Self {
            validation: validation.collect(),
            order: Order::Chunks(ChunkSequence::new(placed, numbering.batch, chunks.shuffle, numbering.seed)),
            sources,
            cache: config.cache_dir.clone(),
            fingerprint: hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Source {
    /// Of a source with one shard.
    fn fingerprint(&self) -> blake3::Hash {
        self.shards[0].fingerprint
    }
}

/// Opens files of rows.
struct RowReader<'a> {
    converter: Converter<'a>,
    tokenizer: &'a Tokenizer,
    progress: &'a mut dyn FnMut(&Progress),
}

impl RowReader<'_> {
    fn chunk(&mut self, number: u64, file: &TextFile, batch: u64) -> Result<Source> {
        let source = self.open(&format!("chunk {number}"), file)?;
        let rows = source.training.rows();
        if rows < batch {
            return Err(DataError::SmallChunk { path: file.path.clone(), rows, batch });
        }
        Ok(source)
    }

    fn open(&mut self, name: &str, file: &TextFile) -> Result<Source> {
        let shard = self.converter.shard(file, self.progress)?;
        if shard.info.rows == 0 {
            return Err(DataError::EmptyChunk { path: file.path.clone() });
        }
        let tokens = Arc::new(Tokens::open(std::iter::once(shard.prefix.as_path()))?);
        let training = Packer::of_rows(&tokens, self.converter.seq_len, marks(self.tokenizer));
        let shard = KnownShard {
            prefix: shard.prefix,
            fingerprint: shard.fingerprint,
            max_token_id: Some(shard.info.max_token_id),
            text_bytes: None,
        };
        let (name, key) = (name.to_owned(), String::new());
        Ok(Source { name, key, tokens, training, validation_tokens: 0, shards: vec![shard] })
    }
}

/// The folder of the chunks that are made of the mixture's sources.
fn made_chunks(
    chunks: &ChunksConfig,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf> {
    let config = corpus.config();
    let texts = corpus.texts()?;
    let spec = ChunkSpec {
        row_len: config.seq_len + 1,
        chunks: chunks.count,
        validation_rows: chunks.validation_rows,
        // As every split: the same for all seeds of a run.
        seed: 0,
    };
    let folder = chunks_folder(&texts, tokenizer, &spec, &config.cache_dir)?;
    make(&texts, tokenizer, &spec, &folder, progress)?;
    Ok(folder)
}
