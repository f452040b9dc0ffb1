//! Text to token ids and back.
//!
//! A `tokenizer.json` is read through the `tokenizers` crate, a SentencePiece `.model` by this crate's own
//! reader.

// Ground: words, spellings, and places to cut a text.
mod cuts;
mod spelling;
mod word_cache;

// The two kinds of tokenizers.
mod json;
mod sentencepiece;

// Both kinds behind one type.
mod byte_lengths;
mod engine;
mod file;
mod find_boundary_tokens;

// Comparison of files, export, and training.
mod conversion;
mod export;
mod train;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::boundary_tokens::BoundaryTokens;
use crate::config::TokenizerConfig;
use crate::corpus::Corpus;
use crate::error::{DataError, Result};
use file::TokenizerFile;

pub use conversion::TokenizerComparison;
pub use train::MIN_VOCAB_SIZE;

/// A tokenizer with its BOS and EOS, and the choice which of them documents carry. Cheap to clone.
///
/// Text is always encoded as text: a special token that is spelled out in a document (`</s>` in a web page)
/// is encoded as the characters it consists of.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    file: Arc<TokenizerFile>,
    boundary_tokens: BoundaryTokens,
    warning: Option<Arc<str>>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, a SentencePiece `.model`, or a directory that contains at least one of them.
    ///
    /// Documents carry the BOS and EOS that the tokenizer has. These are the ones that a
    /// `tokenizer_config.json` next to the file names, otherwise those of the SentencePiece model, otherwise
    /// the first of the usual names that the vocabulary contains.
    ///
    /// If a directory contains both files, the `tokenizer.json` is used if both give the same ids for a
    /// number of texts. Otherwise the `tokenizer.model` is used. Suspicious findings are logged as a warning
    /// and available as [`warning`](Self::warning).
    ///
    /// # Errors
    /// [`DataError::BadTokenizer`] if a file is not a usable tokenizer or the directory contains none, and
    /// [`DataError::Io`] if a file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, warning) =
            if path.is_dir() { conversion::open_directory(path)? } else { conversion::open_file(path)? };
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        let boundary_tokens = file.special;
        Ok(Self { file: Arc::new(file), boundary_tokens, warning: warning.map(Into::into) })
    }

    /// Opens the tokenizer of a run: the configured file, or a byte-level BPE trained on the text of
    /// `corpus`.
    ///
    /// A trained tokenizer is kept in the data cache under the fingerprint of the text, and reused.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file), [`train_bpe`] and [`with_policy`](Self::with_policy), and
    /// [`DataError::NoTokenizer`] if no path is configured and a source contains token ids instead of text.
    pub fn open(config: &TokenizerConfig, corpus: &Corpus) -> Result<Self> {
        let tokenizer = match &config.path {
            Some(path) => Self::from_file(path)?,
            None => Self::open_trained(config.train_vocab_size, corpus)?,
        };
        tokenizer.with_policy(config)
    }

    /// Returns this tokenizer with documents that carry BOS and EOS as `config.add_bos` and `config.add_eos`
    /// say.
    ///
    /// # Errors
    /// [`DataError::NoBoundaryToken`] if one of them is to be added and the tokenizer doesn't have it.
    pub fn with_policy(&self, config: &TokenizerConfig) -> Result<Self> {
        let select = |wanted: bool, id: Option<u32>, key, token| match (wanted, id) {
            (true, None) => Err(DataError::NoBoundaryToken { key, token, path: self.path().to_owned() }),
            (true, id) => Ok(id),
            (false, _) => Ok(None),
        };
        let bos = select(config.add_bos, self.bos_id(), "add_bos", "BOS")?;
        let eos = select(config.add_eos, self.eos_id(), "add_eos", "EOS")?;
        Ok(Self { boundary_tokens: BoundaryTokens { bos, eos }, ..self.clone() })
    }

    fn open_trained(vocab_size: usize, corpus: &Corpus) -> Result<Self> {
        let texts = corpus.texts()?;
        let mut key = blake3::Hasher::new();
        key.update(train::VERSION).update(&(vocab_size as u64).to_le_bytes());
        for (name, text) in &texts {
            key.update(text.fingerprint().map_err(|error| error.in_source(name))?.as_bytes());
        }
        let key = key.finalize().to_hex();
        let path = corpus.config().cache_dir.join(format!("tokenizer-{}", &key[..16])).join("tokenizer.json");
        if path.is_file() {
            return Self::from_file(&path);
        }
        let documents = texts.iter().flat_map(|(name, text)| {
            text.documents().map(move |document| document.map_err(|e| e.in_source(name)))
        });
        train_bpe(documents, vocab_size, &path)
    }

    /// Returns the ids of a text, without BOS and EOS. Long texts are encoded in parallel.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the tokenizer fails on the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.file.encode(text)
    }

    /// Returns the ids of a document: its text between BOS and EOS, if documents carry them.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the tokenizer fails on the text.
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>> {
        let BoundaryTokens { bos, eos } = self.boundary_tokens;
        let mut ids = Vec::from_iter(bos);
        self.file.engine.encode_into(text, &mut ids)?;
        ids.extend(eos);
        Ok(ids)
    }

    /// Returns the text of ids, without special tokens.
    ///
    /// Ids outside the vocabulary are ignored. Bytes that aren't UTF-8 become replacement characters. The
    /// unknown piece of a SentencePiece model becomes ` ⁇ `.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if the decoder of a `tokenizer.json` fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.file.engine.decode(ids)
    }

    /// Returns the spelling of an id in the vocabulary (`Ġthe`, `▁the`, `<0x0A>`).
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.file.engine.token(id)
    }

    /// Returns the largest id plus one, which is the number of rows that an embedding needs.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.file.engine.vocab_size()
    }

    /// Returns the id of BOS, if the tokenizer has one, whether or not documents carry it.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.file.special.bos
    }

    /// Returns the id of EOS, if the tokenizer has one, whether or not documents carry it.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        self.file.special.eos
    }

    /// Returns the BOS and EOS that documents carry.
    #[must_use]
    pub fn boundary_tokens(&self) -> BoundaryTokens {
        self.boundary_tokens
    }

    /// Returns the BLAKE3 hash of the file, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.file.fingerprint
    }

    /// Returns the path of the file that was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Returns the number of bytes of text that an id stands for.
    ///
    /// This is 0 for special tokens, the unknown piece and ids outside the vocabulary. If the tokenizer
    /// normalizes text (composes accents, collapses spaces), these are bytes of the normalized text.
    #[must_use]
    pub fn byte_len(&self, id: u32) -> usize {
        self.file.byte_lengths.of_token(id)
    }

    /// Returns the number of bytes that the tokenizer puts before each text (the space of SentencePiece) and
    /// that are therefore not part of the text.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.file.byte_lengths.prefix()
    }

    /// Returns the warning about the file, if there is one.
    ///
    /// The file may give other ids than the `tokenizer.model` next to it, or a conversion may have broken the
    /// words of its vocabulary.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Compares the `tokenizer.json` and the `tokenizer.model` of a directory on a number of texts.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] if one of them fails on a text.
    pub fn compare_files(&self) -> Result<TokenizerComparison> {
        conversion::compare_with_other_file(&self.file)
    }

    /// Returns the kind of tokenizer, in words: `SentencePiece BPE`, `tokenizer.json (byte-level BPE)`.
    #[must_use]
    pub fn kind(&self) -> String {
        self.file.engine.kind()
    }

    /// Returns the normalization settings of a SentencePiece model, by the names of its format.
    #[must_use]
    pub fn settings(&self) -> Option<String> {
        self.file.engine.settings()
    }

    /// Returns the ids of special tokens and of tokens that were added or defined by hand, in ascending
    /// order.
    #[must_use]
    pub fn special_tokens(&self) -> Vec<u32> {
        self.file.engine.special_tokens()
    }

    /// Returns the files that make up a directory from which this crate and `transformers` read the
    /// tokenizer, by name.
    ///
    /// They are the tokenizer file, unchanged, and a `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`DataError::Io`] if a file cannot be read, and [`DataError::BadTokenizer`] if the
    /// `tokenizer_config.json` next to the tokenizer is not JSON.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        export::exported_files(&self.file, self.boundary_tokens)
    }
}

/// Trains a byte-level BPE on documents and saves it to `save` (a `tokenizer.json`), with a
/// `tokenizer_config.json` in the same directory.
///
/// Text is split as by GPT-2, and numbers into digits as by LLaMA. The same documents result in the same
/// bytes for any number of threads. A small corpus may result in fewer than `vocab_size` tokens.
/// `transformers` loads the directory with `AutoTokenizer.from_pretrained`.
///
/// # Errors
/// [`DataError::Config`] if `vocab_size` is below [`MIN_VOCAB_SIZE`], the first error of `documents`,
/// [`DataError::Tokenize`] if the training fails, and [`DataError::Io`] if a file cannot be written.
pub fn train_bpe(
    documents: impl Iterator<Item = Result<String>> + Send,
    vocab_size: usize,
    save: &Path,
) -> Result<Tokenizer> {
    train::train_and_save(documents, vocab_size, save)?;
    Tokenizer::from_file(save)
}

#[cfg(test)]
impl Tokenizer {
    /// Returns the `tokenizer.json` that this tokenizer was read from.
    fn json(&self) -> &json::JsonTokenizer {
        match &self.file.engine {
            engine::TokenizerEngine::Json(json) => json,
            engine::TokenizerEngine::SentencePiece(_) => {
                panic!("{} is not a tokenizer.json", self.path().display())
            }
        }
    }
}
