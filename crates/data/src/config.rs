use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};

/// `[tokenizer]`: how text becomes token ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// A `tokenizer.json`, a SentencePiece `.model`, or a directory that holds one. Absent: a byte-level BPE is trained on the training text, once,
    /// and kept in `data.cache_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Vocabulary size of the trained tokenizer, special tokens and the 256 bytes included. At least 259.
    pub train_vocab_size: usize,
    /// Whether each document begins with BOS.
    pub add_bos: bool,
    /// Whether each document ends with EOS.
    pub add_eos: bool,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { path: None, train_vocab_size: 1024, add_bos: true, add_eos: true }
    }
}

/// `[data]`: what is trained on, and how it is cut into rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Tokens of a row that the model reads; each predicts the next one.
    pub seq_len: usize,
    /// How documents fill rows.
    pub packing: Packing,
    /// In which order the rows of a source come: `"shuffled"` by key, another order in each epoch, or `"sequential"`, as in its files.
    pub order: RowOrder,
    /// Whether a token may only attend to tokens of its own document.
    pub document_mask: bool,
    /// Share of each source, from 0 up to but not including 1, that is kept out of training to measure perplexity: whole
    /// documents where that makes at least ten of them, otherwise the last tokens of the source.
    pub validation_share: f64,
    /// The sources.
    pub mix: Vec<SourceConfig>,
    /// Rows in numbered files, trained on one file after another, as Amber was. Packing, order, weights and `validation_share`
    /// have no part in it: its rows are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<ChunksConfig>,
    /// Folder for what is made once from the sources: token shards and a trained tokenizer. Safe to delete between runs.
    pub cache_dir: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            seq_len: 1024,
            packing: Packing::Stream,
            order: RowOrder::Shuffled,
            document_mask: false,
            validation_share: 0.01,
            mix: Vec::new(),
            chunks: None,
            cache_dir: PathBuf::from(".fineline-cache"),
        }
    }
}

/// How documents fill rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// One contiguous stream of documents, cut into rows: no padding, and documents run on over the ends of rows.
    #[default]
    Stream,
    /// Whole documents side by side, longer ones split: a row's rest is padding that no loss counts.
    Rows,
}

/// The order of a source's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowOrder {
    /// By key, another order in each epoch.
    #[default]
    Shuffled,
    /// As in the files, again in each epoch: the rows of a step are neighbours in the stream, as in EasyLM, with which `OpenLLaMA` was
    /// trained.
    Sequential,
}

/// `[data.chunks]`: rows that lie ready in numbered files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunksConfig {
    /// A directory with `train_000.jsonl`, `train_001.jsonl`, ... (also `train_0.jsonl`; each also as `.gz` or `.zst`), whose lines are
    /// `{"token_ids": [...]}` with `data.seq_len` + 1 ids. On `valid_NAME.jsonl` beside them perplexity is measured. Absent: the chunks are
    /// made of the sources of `[[data.mix]]`, as `data prepare --recipe amber` makes them, once, and kept in `data.cache_dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How many chunks there are. They are numbered from 0.
    pub count: u64,
    /// How the rows of a chunk are shuffled: `"keyed"` by `run.seed` and the chunk's number, or as `"numpy"` does after
    /// `numpy.random.seed(run.seed + number)`. Those beyond the last whole batch of the chunk are left out.
    #[serde(default)]
    pub shuffle: ChunkShuffle,
    /// Numbers of chunks that are left out, and their steps and checkpoints with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<u64>,
    /// Chunks in whose place another one is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<Replacement>,
    /// Where the chunks are made: how many rows of each source are kept out of training to measure perplexity.
    #[serde(default)]
    pub validation_rows: u64,
}

/// Another chunk in the place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The number of the place, which decides the order of its rows and the name of its checkpoint.
    pub chunk: u64,
    /// The number of the chunk whose rows are read there.
    pub with: u64,
}

/// The order of the rows of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChunkShuffle {
    /// Our own, computed place by place.
    #[default]
    Keyed,
    /// `numpy.random.permutation` of the legacy generator, seeded anew for each chunk: that of amber-train where a process began with
    /// the chunk.
    Numpy,
}

/// The most chunks that a directory may have.
const MOST_CHUNKS: u64 = 100_000;

impl ChunksConfig {
    /// The numbers of the chunks that are trained on, in their order, each with the number of the one that is read for it.
    pub(crate) fn assignments(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let read = |number| {
            self.replace.iter().find(|replacement| replacement.chunk == number).map_or(number, |r| r.with)
        };
        (0..self.count).filter(|number| !self.skip.contains(number)).map(move |number| (number, read(number)))
    }

    fn validate(&self, mix: &[SourceConfig]) -> Result<()> {
        let wrong = |key: &str, value: String, expected| {
            Err(DataError::Config { key: format!("data.chunks.{key}"), value, expected })
        };
        if !(1..=MOST_CHUNKS).contains(&self.count) {
            return wrong("count", self.count.to_string(), "expected 1 to 100000 chunks");
        }
        if self.path.is_some() && !mix.is_empty() {
            let path = self
                .path
                .as_ref()
                .map_or_else(String::new, |path| format!("{:?}", path.display().to_string()));
            return wrong(
                "path",
                path,
                "expected no [[data.mix]] beside it: chunks are either there or made of the mix",
            );
        }
        if self.path.is_some() && self.validation_rows > 0 {
            let expected = "expected none where `data.chunks.path` is given: the files valid_NAME.jsonl there say what is held out";
            return wrong("validation_rows", self.validation_rows.to_string(), expected);
        }
        if let Some(number) = self.skip.iter().find(|&&number| number >= self.count) {
            return wrong(
                "skip",
                format!("[.., {number}, ..]"),
                "expected numbers below `data.chunks.count`",
            );
        }
        let mut replaced = BTreeSet::new();
        for (i, &Replacement { chunk, with }) in self.replace.iter().enumerate() {
            let key = format!("replace[{i}].chunk");
            if chunk >= self.count || with >= self.count {
                return wrong(
                    &key,
                    format!("{chunk}, with {with}"),
                    "expected numbers below `data.chunks.count`",
                );
            }
            if self.skip.contains(&chunk) || !replaced.insert(chunk) {
                let expected = "expected a chunk that is neither skipped nor replaced already";
                return wrong(&key, chunk.to_string(), expected);
            }
        }
        if self.assignments().next().is_none() {
            return wrong("skip", "all of the chunks".to_owned(), "expected at least one to be left");
        }
        Ok(())
    }
}

/// `[[data.mix]]`: one source of the mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Name in logs and reports, different for each source. Part of what decides the order of its rows.
    pub name: String,
    /// A file, a directory (with all below it) or a glob of `.txt` (one document a file), `.jsonl` or `.json` (one a line), each also
    /// as `.gz` or `.zst`; or token shards: their prefix, `.bin`, `.idx`, a directory or a glob.
    pub path: String,
    /// Field of a JSONL record that holds the text.
    #[serde(default = "default_field")]
    pub field: String,
    /// Share of the rows that come from this source, relative to the other weights.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

fn default_field() -> String {
    "text".to_owned()
}

fn default_weight() -> f64 {
    1.0
}

impl DataConfig {
    /// Checks every range that needs no file.
    pub fn validate(&self) -> Result<()> {
        let wrong = |key: &str, value: String, expected| {
            Err(DataError::Config { key: key.to_owned(), value, expected })
        };
        if self.seq_len == 0 {
            return wrong("data.seq_len", "0".to_owned(), "expected at least 1");
        }
        if !(0.0..1.0).contains(&self.validation_share) {
            let value = self.validation_share.to_string();
            return wrong(
                "data.validation_share",
                value,
                "expected a share from 0 up to but not including 1",
            );
        }
        if let Some(chunks) = &self.chunks {
            chunks.validate(&self.mix)?;
        }
        if self.mix.is_empty() && self.chunks.as_ref().is_none_or(|chunks| chunks.path.is_none()) {
            return wrong(
                "data.mix",
                "empty".to_owned(),
                "expected at least one [[data.mix]] with a name and a path",
            );
        }
        let mut names = BTreeSet::new();
        for (i, source) in self.mix.iter().enumerate() {
            if !(source.weight.is_finite() && source.weight > 0.0) {
                let key = format!("data.mix[{i}].weight");
                return wrong(&key, source.weight.to_string(), "expected a finite number above 0");
            }
            if source.name.is_empty() || !names.insert(&source.name) {
                let key = format!("data.mix[{i}].name");
                return wrong(&key, format!("{:?}", source.name), "expected a name that no other source has");
            }
            let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
            if self.chunks.is_some() && !source.name.chars().all(plain) {
                let key = format!("data.mix[{i}].name");
                let expected =
                    "expected letters, digits, `-`, `_` and `.` alone: a file of chunks is called by it";
                return wrong(&key, format!("{:?}", source.name), expected);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, weight: f64) -> SourceConfig {
        SourceConfig { name: name.to_owned(), path: "x".to_owned(), field: default_field(), weight }
    }

    fn message(config: &DataConfig) -> String {
        config.validate().expect_err("the config is wrong").to_string()
    }

    #[test]
    fn ranges_are_checked_with_the_key_named() {
        let good = DataConfig { mix: vec![source("a", 1.0), source("b", 0.5)], ..DataConfig::default() };
        good.validate().unwrap();
        let none = DataConfig::default();
        let share = DataConfig { validation_share: f64::NAN, ..good.clone() };
        let weight = DataConfig { mix: vec![source("a", 1.0), source("b", 0.0)], ..good.clone() };
        let name = DataConfig { mix: vec![source("a", 1.0), source("a", 1.0)], ..good.clone() };
        let len = DataConfig { seq_len: 0, ..good };
        let messages = [none, share, weight, name, len].map(|config| message(&config)).join("\n");
        insta::assert_snapshot!(messages, @r#"
        `data.mix` is empty: expected at least one [[data.mix]] with a name and a path
        `data.validation_share` is NaN: expected a share from 0 up to but not including 1
        `data.mix[1].weight` is 0: expected a finite number above 0
        `data.mix[1].name` is "a": expected a name that no other source has
        `data.seq_len` is 0: expected at least 1
        "#);
    }

    #[test]
    fn chunks_are_checked_by_key() {
        let parsed = |toml: &str| -> DataConfig {
            serde_json::from_value(serde_json::json!({ "mix": [], "chunks": serde_json::from_str::<serde_json::Value>(toml).unwrap() }))
                .unwrap()
        };
        let good = parsed(r#"{"path": "d", "count": 4, "skip": [2], "replace": [{"chunk": 3, "with": 0}]}"#);
        good.validate().unwrap();
        let assignments: Vec<_> = good.chunks.as_ref().unwrap().assignments().collect();
        assert_eq!(assignments, [(0, 0), (1, 1), (3, 0)]);
        let messages = [
            r#"{"path": "d", "count": 0}"#,
            r#"{"count": 3}"#,
            r#"{"path": "d", "count": 3, "validation_rows": 2}"#,
            r#"{"path": "d", "count": 3, "skip": [3]}"#,
            r#"{"path": "d", "count": 2, "skip": [0, 1]}"#,
            r#"{"path": "d", "count": 3, "replace": [{"chunk": 1, "with": 7}]}"#,
            r#"{"path": "d", "count": 3, "skip": [1], "replace": [{"chunk": 1, "with": 0}]}"#,
        ]
        .map(|chunks| message(&parsed(chunks)));
        let both = DataConfig { mix: vec![source("a", 1.0)], ..good };
        insta::assert_snapshot!(messages.join("\n") + "\n" + &message(&both), @r#"
        `data.chunks.count` is 0: expected 1 to 100000 chunks
        `data.mix` is empty: expected at least one [[data.mix]] with a name and a path
        `data.chunks.validation_rows` is 2: expected none where `data.chunks.path` is given: the files valid_NAME.jsonl there say what is held out
        `data.chunks.skip` is [.., 3, ..]: expected numbers below `data.chunks.count`
        `data.chunks.skip` is all of the chunks: expected at least one to be left
        `data.chunks.replace[0].chunk` is 1, with 7: expected numbers below `data.chunks.count`
        `data.chunks.replace[0].chunk` is 1: expected a chunk that is neither skipped nor replaced already
        `data.chunks.path` is "d": expected no [[data.mix]] beside it: chunks are either there or made of the mix
        "#);
    }
}
