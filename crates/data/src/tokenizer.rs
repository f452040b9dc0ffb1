//! Text to token ids and back: `tokenizer.json` through the `tokenizers` crate, SentencePiece's `.model` by a reader of our own.

mod byte_lengths;
mod conversion;
mod cuts;
mod json;
mod memo;
mod sentencepiece;
mod special;
mod spelling;
mod train;

pub use conversion::Agreement;
pub use train::{LEAST_VOCABULARY, train_bpe};

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Corpus, DataError, Result, TokenizerConfig};
use byte_lengths::ByteLengths;
use json::Json;
use sentencepiece::SentencePiece;
use special::{SpecialIds, find_special_ids};

/// A tokenizer with its BOS and EOS, and which of them documents carry. Cheap to clone.
///
/// Text is only ever text: a special token spelled out in a document (`</s>` in a web page) is encoded as the characters it
/// consists of.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    engine: Arc<Engine>,
    path: PathBuf,
    fingerprint: String,
    special: SpecialIds,
    marks: Marks,
    byte_lengths: Arc<ByteLengths>,
    doubt: Option<String>,
}

/// What makes ids of text.
#[derive(Debug)]
enum Engine {
    Json(Box<Json>),
    SentencePiece(Box<SentencePiece>),
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
    /// Reads a `tokenizer.json`, a SentencePiece `.model`, or the one of them that a folder holds. Documents carry the BOS and EOS
    /// that it has.
    ///
    /// These are what a `tokenizer_config.json` beside it names, otherwise those of the SentencePiece model, otherwise the first of
    /// the usual names that the vocabulary has. Of a folder with both files the `tokenizer.json` is read if both give the
    /// same ids for a number of texts, otherwise the `tokenizer.model`. What seems wrong is logged as a warning and kept
    /// ([`doubt`](Self::doubt)).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (tokenizer, doubt) =
            if path.is_dir() { conversion::open_folder(path)? } else { conversion::open_file(path)? };
        if let Some(doubt) = &doubt {
            tracing::warn!("{doubt}");
        }
        Ok(Self(Arc::new(Shared { doubt, ..Shared::clone(&tokenizer.0) })))
    }

    /// Reads one file, without a look at what is beside it.
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let bad = |message: String| DataError::BadTokenizer { path: path.to_owned(), message };
        let engine = Engine::from_bytes(&bytes, path).map_err(bad)?;
        if engine.vocab_size() == 0 {
            return Err(bad("its vocabulary is empty".to_owned()));
        }
        let special = find_special_ids(path, &engine)?;
        let byte_lengths = ByteLengths::of(&engine).map_err(|error| bad(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            engine: Arc::new(engine),
            fingerprint: blake3::hash(&bytes).to_hex().to_string(),
            path: path.to_owned(),
            special,
            marks: Marks { bos: special.bos, eos: special.eos },
            byte_lengths: Arc::new(byte_lengths),
            doubt: None,
        })))
    }

    /// The tokenizer of a run: the configured file, or a byte-level BPE trained on the text of its `corpus`.
    ///
    /// A trained one is kept in `data.cache_dir` under the fingerprint of the text and found there the next time.
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
        let path = corpus.config().cache_dir.join(format!("tokenizer-{}", &key[..16])).join("tokenizer.json");
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
        self.0.engine.encode_into(text, ids)
    }

    /// The text of ids, without special tokens. Ids that are not in the vocabulary give nothing; bytes that are no UTF-8 give
    /// replacement characters. Of a SentencePiece model, the unknown piece gives ` ⁇ `.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        match &*self.0.engine {
            Engine::Json(json) => json.decode(ids),
            Engine::SentencePiece(model) => Ok(model.decode(ids)),
        }
    }

    /// The vocabulary's spelling of an id (`Ġthe`, `▁the`, `<0x0A>`), if there is one.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.engine.token(id)
    }

    /// One more than the largest id: the rows that an embedding needs.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.0.engine.vocab_size()
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

    /// The file that was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Bytes of text that an id stands for; 0 for special tokens, the unknown piece and ids outside the vocabulary.
    ///
    /// Where the tokenizer normalizes text (composes accents, collapses spaces), these are the bytes of normalized text.
    #[must_use]
    pub fn byte_len(&self, id: u32) -> usize {
        self.0.byte_lengths.of_token(id)
    }

    /// Bytes that the tokenizer puts before each text (the space of SentencePiece) and that are therefore no text.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.0.byte_lengths.prefix()
    }

    /// What seems wrong with the file, if anything does: it gives other ids than the `tokenizer.model` beside it, or a conversion
    /// has left it without the words of its own vocabulary.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.0.doubt.as_deref()
    }

    /// Whether the `tokenizer.json` and `tokenizer.model` of a folder give the same ids.
    pub fn agreement(&self) -> Result<Agreement> {
        conversion::agreement(self)
    }

    /// What kind of tokenizer this is, in words: `SentencePiece BPE`, `tokenizer.json (byte-level BPE)`.
    #[must_use]
    pub fn kind(&self) -> String {
        match &*self.0.engine {
            Engine::Json(json) => format!("tokenizer.json ({})", json.kind()),
            Engine::SentencePiece(model) => model.kind().to_owned(),
        }
    }

    /// The switches of a SentencePiece model, by the names of its own format.
    #[must_use]
    pub fn settings(&self) -> Option<String> {
        match &*self.0.engine {
            Engine::Json(_) => None,
            Engine::SentencePiece(model) => Some(model.settings()),
        }
    }

    /// Tokens that stand apart: those that no text becomes, and others that were added or defined by hand.
    #[must_use]
    pub fn special_tokens(&self) -> Vec<u32> {
        match &*self.0.engine {
            Engine::Json(json) => json.special_tokens(),
            Engine::SentencePiece(model) => model.special_tokens(),
        }
    }

    /// The files that make a folder one which this tokenizer is read from, and `transformers` reads too, by name: the tokenizer,
    /// byte for byte, and a `tokenizer_config.json`.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let (name, class) = match &*self.0.engine {
            Engine::Json(_) => ("tokenizer.json", "PreTrainedTokenizerFast"),
            Engine::SentencePiece(_) => ("tokenizer.model", "LlamaTokenizer"),
        };
        Ok(BTreeMap::from([
            (name.to_owned(), fs_err::read(self.path())?),
            ("tokenizer_config.json".to_owned(), self.settings_for_transformers(class)?),
        ]))
    }

    /// The `tokenizer_config.json` beside the file, if there is one that names a class for such files, otherwise one with `class`.
    fn settings_for_transformers(&self, class: &str) -> Result<Vec<u8>> {
        let is_model = matches!(&*self.0.engine, Engine::SentencePiece(_));
        let beside = self.path().with_file_name("tokenizer_config.json");
        if beside.is_file() {
            let bytes = fs_err::read(&beside)?;
            let bad = |error: serde_json::Error| DataError::BadTokenizer {
                path: beside,
                message: error.to_string(),
            };
            let mut settings: serde_json::Value = serde_json::from_slice(&bytes).map_err(bad)?;
            let reads_json = settings["tokenizer_class"].as_str().is_none_or(|class| class.ends_with("Fast"));
            return match settings.as_object_mut() {
                Some(settings) if is_model && reads_json => {
                    settings.insert("tokenizer_class".to_owned(), class.into());
                    Ok(serde_json::json!(settings).to_string().into_bytes())
                }
                _ => Ok(bytes),
            };
        }
        let mut settings = serde_json::json!({ "tokenizer_class": class });
        if is_model {
            // As OpenLLaMA's own has it; `legacy` leaves pieces behind special tokens as SentencePiece makes them.
            let name = |id: Option<u32>| id.and_then(|id| self.token(id));
            settings["bos_token"] = name(self.bos_id()).into();
            settings["eos_token"] = name(self.eos_id()).into();
            settings["add_bos_token"] = self.marks().bos.is_some().into();
            settings["add_eos_token"] = false.into();
            settings["legacy"] = true.into();
            settings["clean_up_tokenization_spaces"] = false.into();
        }
        Ok(settings.to_string().into_bytes())
    }

    /// Whether this is a `tokenizer.json` with the tokens of a SentencePiece model.
    fn is_converted_from_pieces(&self) -> bool {
        matches!(&*self.0.engine, Engine::Json(json) if json.is_of_pieces())
    }
}

impl Engine {
    fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, String> {
        let is_json = path.extension().is_some_and(|extension| extension == "json")
            || bytes.trim_ascii_start().starts_with(b"{");
        if is_json {
            Json::from_bytes(bytes).map(|json| Self::Json(Box::new(json)))
        } else {
            SentencePiece::from_bytes(bytes).map(|model| Self::SentencePiece(Box::new(model)))
        }
    }

    /// Appends the ids of a text.
    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Json(json) => json.encode_into(text, ids),
            Self::SentencePiece(model) => model.encode_into(text, ids),
        }
    }

    fn vocab_size(&self) -> usize {
        match self {
            Self::Json(json) => json.vocab_size(),
            Self::SentencePiece(model) => model.vocab_size(),
        }
    }

    fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Json(json) => json.inner.id_to_token(id),
            Self::SentencePiece(model) => model.token(id).map(str::to_owned),
        }
    }

    fn id_of(&self, token: &str) -> Option<u32> {
        match self {
            Self::Json(json) => json.inner.token_to_id(token),
            Self::SentencePiece(model) => model.id_of(token),
        }
    }

    /// The id of a name, if it isn't that of a SentencePiece model's text.
    fn id_of_special(&self, token: &str) -> Option<u32> {
        match self {
            Self::Json(_) => self.id_of(token),
            Self::SentencePiece(model) => self.id_of(token).filter(|id| model.special_tokens().contains(id)),
        }
    }

    /// Bytes of text that an id stands for.
    fn byte_len(&self, id: u32) -> Result<usize> {
        match self {
            Self::Json(json) => json.byte_len(id),
            Self::SentencePiece(model) => Ok(model.byte_len(id)),
        }
    }
}

#[cfg(test)]
impl Tokenizer {
    fn json(&self) -> &Json {
        match &*self.0.engine {
            Engine::Json(json) => json,
            Engine::SentencePiece(_) => panic!("{} is no tokenizer.json", self.path().display()),
        }
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
        `DIR/tokenizer.model` is not a tokenizer that can be used: it is no SentencePiece model, or damaged (failed to decode Protobuf message: invalid varint)
        `DIR/a.json` is not a tokenizer that can be used: expected `,` or `}` at line 1 column 5
        `DIR/b.json` is not a tokenizer that can be used: expected ident at line 1 column 2
        failed to open file `DIR/none.json`: No such file or directory (os error 2)
        ");
    }

    /// A folder with a SentencePiece model of the fixtures, and `tokenizer.json` with the same pieces and a merge for each, which
    /// keeps all spaces.
    fn folder_of(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentencepiece");
        fs_err::copy(format!("{fixtures}/{name}.model"), folder.path().join("tokenizer.model")).unwrap();
        let model = Tokenizer::from_file(folder.path()).unwrap();
        fs_err::write(folder.path().join("tokenizer.json"), converted(&model).to_string()).unwrap();
        folder
    }

    /// What a conversion that knows no flags makes of a model whose pieces are in the order of their scores.
    fn converted(model: &Tokenizer) -> serde_json::Value {
        let tokens = (0..model.vocab_size() as u32).map(|id| (model.token(id).unwrap(), id));
        let tokens = tokens.collect::<Vec<_>>();
        let vocab: std::collections::HashMap<_, _> = tokens.iter().cloned().collect();
        let merges = tokens.iter().filter(|(token, _)| !token.starts_with('<')).flat_map(|(token, _)| {
            let halves = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let halves =
                halves.filter(|(left, right)| vocab.contains_key(*left) && vocab.contains_key(*right));
            halves.map(|(left, right)| [left.to_owned(), right.to_owned()]).collect::<Vec<_>>()
        });
        let merges = merges.collect::<Vec<_>>();
        serde_json::json!({
            "added_tokens": [],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": "▁" },
                { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            ] },
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
                { "type": "ByteFallback" }, { "type": "Fuse" },
                { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
            ] },
            "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": merges },
        })
    }

    #[test]
    fn of_two_files_that_agree_the_json_is_read() {
        let folder = folder_of("v2");
        let tokenizer = Tokenizer::from_file(folder.path()).unwrap();
        assert_eq!(tokenizer.path(), folder.path().join("tokenizer.json"));
        assert_eq!((tokenizer.doubt(), tokenizer.agreement().unwrap()), (None, Agreement::Same));
        assert_eq!(tokenizer.kind(), "tokenizer.json (BPE)");
    }

    #[test]
    fn of_two_files_that_differ_the_model_is_read_and_a_doubt_kept() {
        let folder = folder_of("v1");
        let tokenizer = Tokenizer::from_file(folder.path()).unwrap();
        assert_eq!(tokenizer.path(), folder.path().join("tokenizer.model"));
        assert!(matches!(tokenizer.agreement().unwrap(), Agreement::Differs { text } if text.contains("  ")));
        let json = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        fs_err::remove_file(folder.path().join("tokenizer.model")).unwrap();
        assert_eq!(Tokenizer::from_file(folder.path()).unwrap().doubt(), None, "its vocabulary is small");
        let mut large: serde_json::Value =
            serde_json::from_str(&fs_err::read_to_string(json.path()).unwrap()).unwrap();
        let vocab = large["model"]["vocab"].as_object_mut().unwrap();
        (vocab.len()..4096).for_each(|id| drop(vocab.insert(format!("unused {id}"), id.into())));
        fs_err::write(json.path(), large.to_string()).unwrap();
        let alone = Tokenizer::from_file(folder.path()).unwrap();
        let doubts =
            [&tokenizer, &json, &alone].map(|tokenizer| tokenizer.doubt().unwrap_or("none").to_owned());
        let doubts = doubts.join("\n").replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(doubts, @r#"
        `DIR/tokenizer.json` and tokenizer.model beside it give different ids for "hello     world": tokenizer.model is used, which a conversion to tokenizer.json may have got wrong; to use the other, name the file itself
        `DIR/tokenizer.json` gives other ids than tokenizer.model beside it for "hello     world": a conversion may have got it wrong; to use tokenizer.model, name that file or the folder
        `DIR/tokenizer.json` may be a wrong conversion of a SentencePiece model: it keeps runs of spaces, for which its vocabulary has no token, so that the model probably collapsed them (remove_extra_whitespaces); get its tokenizer.model
        "#);
    }

    #[test]
    fn a_json_with_wrong_merges_is_doubted() {
        let folder = folder_of("v2");
        let path = folder.path().join("tokenizer.json");
        fs_err::remove_file(folder.path().join("tokenizer.model")).unwrap();
        assert_eq!(Tokenizer::from_file(&path).unwrap().doubt(), None);
        let mut json: serde_json::Value =
            serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
        json["model"]["merges"].as_array_mut().unwrap().retain(|merge| merge[0].as_str().unwrap().len() > 3);
        fs_err::write(&path, json.to_string()).unwrap();
        let doubt = Tokenizer::from_file(&path).unwrap().doubt().unwrap().to_owned();
        assert!(doubt.contains("words that are tokens of their own come out in parts"), "{doubt}");
    }

    #[test]
    fn real_conversions_are_not_doubted() {
        for tokenizer in NAMES.iter().filter_map(|name| material(name)) {
            assert_eq!(tokenizer.doubt(), None);
        }
        if let Some(folder) = crate::testing::material("tokenizers/llama2-spm") {
            assert_eq!(Tokenizer::from_file(folder).unwrap().agreement().unwrap(), Agreement::Same);
        }
    }

    #[test]
    fn a_model_of_another_format_leaves_the_json() {
        let folder = folder_of("v2");
        fs_err::write(folder.path().join("tokenizer.model"), "IQ== 0\nIg== 1\n").unwrap();
        let tokenizer = Tokenizer::from_file(folder.path()).unwrap();
        assert_eq!(tokenizer.path(), folder.path().join("tokenizer.json"));
        assert!(tokenizer.doubt().unwrap().starts_with("only tokenizer.json is used"));
    }

    #[test]
    fn the_files_of_a_model_make_a_folder_of_it() {
        let folder = folder_of("v1");
        let tokenizer = Tokenizer::from_file(folder.path().join("tokenizer.model")).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for (name, bytes) in tokenizer.files().unwrap() {
            fs_err::write(copy.path().join(name), bytes).unwrap();
        }
        let again = Tokenizer::from_file(copy.path()).unwrap();
        assert_eq!((again.fingerprint(), again.marks()), (tokenizer.fingerprint(), tokenizer.marks()));
        let settings = fs_err::read_to_string(copy.path().join("tokenizer_config.json")).unwrap();
        assert!(
            settings.contains(r#""tokenizer_class":"LlamaTokenizer","bos_token":"<s>","eos_token":"</s>""#),
            "{settings}"
        );
        // A class that reads no SentencePiece model gives way to one that does.
        let config = folder.path().join("tokenizer_config.json");
        fs_err::write(config, r#"{"eos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast"}"#)
            .unwrap();
        let files = Tokenizer::from_file(folder.path().join("tokenizer.model")).unwrap().files().unwrap();
        let settings = String::from_utf8_lossy(&files["tokenizer_config.json"]);
        assert_eq!(settings, r#"{"eos_token":"<s>","tokenizer_class":"LlamaTokenizer"}"#);
    }
}
