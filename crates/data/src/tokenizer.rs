//! Text to token ids and back, through the `tokenizers` crate.

mod byte_lengths;
mod cuts;
mod memo;
mod special;
mod spelling;
mod train;

pub use train::{LEAST_VOCABULARY, train_bpe};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tokenizers::Tokenizer as Inner;

use crate::{Corpus, DataError, Result, TokenizerConfig};
use byte_lengths::ByteLengths;
use cuts::Cuts;
use memo::Memo;
use special::{SpecialIds, find_special_ids};

/// A `tokenizer.json` with its BOS and EOS, and which of them documents carry. Cheap to clone.
///
/// Text is only ever text: a special token spelled out in a document (`</s>` in a web page) is encoded as the characters it
/// consists of.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    inner: Inner,
    path: PathBuf,
    fingerprint: String,
    vocab_size: usize,
    special: SpecialIds,
    marks: Marks,
    byte_lengths: ByteLengths,
    cuts: Option<Cuts>,
    memo: Arc<Memo>,
}

/// What documents are put between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Id at the beginning of each document.
    pub bos: Option<u32>,
    /// Id at the end of each document.
    pub eos: Option<u32>,
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |id: Option<u32>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        write!(f, "BOS {} and EOS {}", mark(self.bos), mark(self.eos))
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json` (or the one in a folder). Documents carry the BOS and EOS that it has.
    ///
    /// These are what a `tokenizer_config.json` beside it names, otherwise the first of the usual names that the vocabulary has.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
        let bytes = fs_err::read(&path)?;
        if path.extension().is_some_and(|extension| extension == "model") {
            return Err(DataError::SentencePiece { path });
        }
        let bad = |message: String| DataError::BadTokenizer { path: path.clone(), message };
        let mut inner = Inner::from_bytes(&bytes).map_err(|error| bad(error.to_string()))?;
        inner.set_encode_special_tokens(true);
        // Padding and truncation are settings of whoever saved the file; here they would change documents.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| bad(error.to_string()))?;
        let vocab = inner.get_vocab(true);
        let vocab_size = vocab.values().max().map_or(0, |&id| id as usize + 1);
        if vocab_size == 0 {
            return Err(bad("its vocabulary is empty".to_owned()));
        }
        let special = find_special_ids(&path, &inner)?;
        let cuts = Cuts::of(&inner).map_err(|error| bad(error.to_string()))?;
        let byte_lengths = ByteLengths::of(&inner, vocab_size).map_err(|error| bad(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            inner,
            fingerprint: blake3::hash(&bytes).to_hex().to_string(),
            path,
            vocab_size,
            special,
            marks: Marks { bos: special.bos, eos: special.eos },
            byte_lengths,
            cuts,
            memo: Arc::default(),
        })))
    }

    /// The tokenizer of a run: the configured file, or a byte-level BPE trained on the text of its `corpus`.
    ///
    /// A trained one is kept in `data.cache` under the fingerprint of the text and found there the next time.
    pub fn open(config: &TokenizerConfig, corpus: &Corpus) -> Result<Self> {
        let tokenizer = match &config.path {
            Some(path) => Self::from_file(path)?,
            None => Self::trained(config.train_vocab_size, corpus)?,
        };
        tokenizer.with_policy(config)
    }

    /// The same tokenizer, with documents that carry what `config` asks for.
    pub fn with_policy(&self, config: &TokenizerConfig) -> Result<Self> {
        let mark = |wanted: bool, id: Option<u32>, key, token| match (wanted, id) {
            (true, None) => Err(DataError::NoMark { key, token, path: self.path().to_owned() }),
            (true, id) => Ok(id),
            (false, _) => Ok(None),
        };
        let bos = mark(config.add_bos, self.bos_id(), "add_bos", "BOS")?;
        let eos = mark(config.add_eos, self.eos_id(), "add_eos", "EOS")?;
        Ok(Self(Arc::new(Shared { marks: Marks { bos, eos }, ..Shared::clone(&self.0) })))
    }

    fn trained(vocab_size: usize, corpus: &Corpus) -> Result<Self> {
        let texts = corpus.texts()?;
        let mut key = blake3::Hasher::new();
        key.update(train::VERSION).update(&(vocab_size as u64).to_le_bytes());
        for (name, text) in &texts {
            key.update(text.fingerprint().map_err(|error| error.in_source(name))?.as_bytes());
        }
        let key = key.finalize().to_hex();
        let path = corpus.config().cache.join(format!("tokenizer-{}", &key[..16])).join("tokenizer.json");
        if path.is_file() {
            return Self::from_file(&path);
        }
        let documents = texts.iter().flat_map(|(name, text)| {
            text.documents().map(move |document| document.map_err(|e| e.in_source(name)))
        });
        train_bpe(documents, vocab_size, &path)
    }

    /// The ids of a text, without BOS or EOS. Long texts are worked on in parallel.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids)?;
        Ok(ids)
    }

    /// The ids of a document: those of its text between BOS and EOS, as the policy says.
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>> {
        let Marks { bos, eos } = self.0.marks;
        let mut ids = Vec::from_iter(bos);
        self.encode_into(text, &mut ids)?;
        ids.extend(eos);
        Ok(ids)
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let Some(cuts) = &self.0.cuts else {
            ids.extend(self.encode_part(text)?);
            return Ok(());
        };
        let encode = |(number, part): (usize, &&str)| {
            let Some(words) = cuts.words(part) else {
                return Ok(self.encode_part(part)?.split_off(cuts.prefix_of(number)));
            };
            let mut ids = Vec::with_capacity(part.len() / 3);
            for word in words {
                self.0.memo.encode(word, &mut ids, |word| self.encode_part(word))?;
            }
            Ok(ids)
        };
        let parts = cuts.parts(text);
        let encoded: Vec<_> = parts.par_iter().enumerate().map(encode).collect();
        encoded.into_iter().try_for_each(|part: Result<Vec<u32>>| {
            ids.extend(part?);
            Ok(())
        })
    }

    fn encode_part(&self, text: &str) -> Result<Vec<u32>> {
        let failed = |error: tokenizers::Error| DataError::Tokenize { message: error.to_string() };
        Ok(self.0.inner.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// The text of ids, without special tokens. Ids that are not in the vocabulary give nothing; bytes that are no UTF-8 give
    /// replacement characters.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let failed = |error: tokenizers::Error| DataError::Tokenize { message: error.to_string() };
        self.0.inner.decode(ids, true).map_err(failed)
    }

    /// The vocabulary's spelling of an id (`Ġthe`, `▁the`, `<0x0A>`), if there is one.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.inner.id_to_token(id)
    }

    /// One more than the largest id: the rows that an embedding needs.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    /// The id that begins a text, if the tokenizer has one, whether or not documents carry it.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.0.special.bos
    }

    /// The id that ends a text, if the tokenizer has one, whether or not documents carry it.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        self.0.special.eos
    }

    /// What documents are put between.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.0.marks
    }

    /// BLAKE3 of the file, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The `tokenizer.json` that was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Bytes of text that an id stands for; 0 for special tokens and ids outside the vocabulary.
    #[must_use]
    pub fn byte_len(&self, id: u32) -> usize {
        self.0.byte_lengths.of_token(id)
    }

    /// Bytes that the tokenizer puts before each text (the space of SentencePiece) and that are therefore no text.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.0.byte_lengths.prefix()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the tokenizers under the materials, or `None`, said, where they are absent.
    fn material(name: &str) -> Option<Tokenizer> {
        let path = crate::testing::material(&format!("tokenizers/{name}"))?;
        Some(Tokenizer::from_file(path).unwrap())
    }

    const NAMES: [&str; 4] = [
        "llama2-spm/tokenizer.json",
        "mistral/tokenizer_v1.json",
        "gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
        "gpt2/tokenizer.json",
    ];

    #[test]
    fn real_text_round_trips_and_its_bytes_are_counted() {
        for (name, tokenizer) in NAMES.iter().filter_map(|name| Some((name, material(name)?))) {
            for corpus in ["tinyshakespeare.txt", "wagahaiwa_nekodearu.ja.txt", "war-and-peace.txt"] {
                let Some(path) = crate::testing::material(&format!("corpora/{corpus}")) else { return };
                let text: String = fs_err::read_to_string(path).unwrap().chars().take(60_000).collect();
                let ids = tokenizer.encode(&text).unwrap();
                assert!(tokenizer.decode(&ids).unwrap() == text, "{name} on {corpus}");
                let bytes: usize = ids.iter().map(|&id| tokenizer.byte_len(id)).sum();
                assert_eq!(bytes - tokenizer.prefix_bytes(), text.len(), "{name} on {corpus}");
            }
        }
    }

    #[test]
    fn awkward_texts_round_trip() {
        for (name, tokenizer) in NAMES.iter().filter_map(|name| Some((name, material(name)?))) {
            for text in
                ["", " ", "\n\n  x", "a </s> <s> <|endoftext|> b", "🦀🦀 naïve\t\u{0}end ", "  two  spaces  "]
            {
                let ids = tokenizer.encode(text).unwrap();
                assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name} on {text:?}");
            }
        }
    }

    #[test]
    fn marks_are_found_by_name() {
        let found = NAMES
            .map(|name| material(name).map(|t| (t.bos_id(), t.eos_id(), t.vocab_size(), t.prefix_bytes())));
        let expected = [(1, 2, 32000, 1), (1, 2, 32000, 1), (0, 0, 50280, 0), (50256, 50256, 50257, 0)];
        for (found, (bos, eos, size, prefix)) in found.into_iter().zip(expected) {
            assert!(found.is_none_or(|found| found == (Some(bos), Some(eos), size, prefix)), "{found:?}");
        }
    }

    #[test]
    fn unusable_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("tokenizer.model", "spm"), ("a.json", "{\"x\": 1}"), ("b.json", "no")] {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        let errors = ["tokenizer.model", "a.json", "b.json", "none.json"]
            .map(|name| Tokenizer::from_file(folder.path().join(name)).unwrap_err().to_string())
            .join("\n")
            .replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(errors, @r"
        `DIR/tokenizer.model` is a SentencePiece model, which is not supported yet: convert it to tokenizer.json (with transformers: `AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(OUT)`)
        `DIR/a.json` is not a tokenizer.json that can be used: expected `,` or `}` at line 1 column 5
        `DIR/b.json` is not a tokenizer.json that can be used: expected ident at line 1 column 2
        failed to open file `DIR/none.json`: No such file or directory (os error 2)
        ");
    }
}
