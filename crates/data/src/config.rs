//! The `[tokenizer]` and `[data]` sections of the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[tokenizer]` section: from text to token ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// Path to a `tokenizer.json`, a SentencePiece `.model`, or a directory that contains one. Absent: a
    /// byte-level BPE tokenizer is trained once on the training text and stored in `data.cache_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Vocabulary size of the trained tokenizer, including special tokens and the 256 bytes. At least 259,
    /// and at most `model.vocab_size`. Unused if `path` is set.
    pub train_vocab_size: usize,
    /// Whether each document starts with the BOS token.
    pub add_bos: bool,
    /// Whether each document ends with the EOS token.
    pub add_eos: bool,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { path: None, train_vocab_size: 1024, add_bos: true, add_eos: true }
    }
}

/// The `[data]` section: the training text, and how it is cut into rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Sequence length: number of tokens of a row that the model reads. Each of them predicts the next one,
    /// so a row has `seq_len + 1` tokens. At most `model.max_position_embeddings`.
    pub seq_len: usize,
    /// How documents fill rows: `"stream"` concatenates them and cuts the stream into rows, `"rows"` packs
    /// complete documents and pads.
    pub packing: Packing,
    /// Order of the rows of a source: `"shuffled"`, differently in each epoch, or `"sequential"`, as in its
    /// files.
    pub order: RowOrder,
    /// Whether tokens attend only to tokens of their own document.
    pub document_mask: bool,
    /// Fraction of each source that is held out for validation, at least 0 and below 1: complete documents if
    /// that gives at least ten of them, otherwise the last tokens of the source.
    pub validation_share: f64,
    /// The sources of the mixture.
    pub mix: Vec<SourceConfig>,
    /// Rows in numbered files, which are trained on one file after another, as Amber was. `packing`, `order`,
    /// `validation_share` and the weights of sources don't apply to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<ChunksConfig>,
    /// Directory for files that are derived from the sources: token shards and a trained tokenizer. Can be
    /// deleted between runs.
    #[schemars(extend("x-resume" = "may-change"))]
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
    /// One contiguous stream of documents, cut into rows. There is no padding, and documents continue in the
    /// next row.
    #[default]
    Stream,
    /// Complete documents next to each other. Longer documents are split. The rest of a row is padding, which
    /// no loss counts.
    Rows,
}

/// The order of the rows of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowOrder {
    /// A keyed permutation, different in each epoch.
    #[default]
    Shuffled,
    /// As in the files, in each epoch: the rows of a step are neighbors in the stream. This is the order of
    /// EasyLM, with which `OpenLLaMA` was trained.
    Sequential,
}

/// The `[data.chunks]` section: rows in numbered files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunksConfig {
    /// Directory with `train_000.jsonl`, `train_001.jsonl`, ... (also `train_0.jsonl`, and each also as `.gz`
    /// or `.zst`), whose lines are `{"token_ids": [...]}` with `data.seq_len + 1` ids. Files
    /// `valid_NAME.jsonl` in it are validation sources. Absent: the chunks are made once from the sources of
    /// `[[data.mix]]`, as by `data prepare --recipe amber`, and stored in `data.cache_dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Number of chunks, from 1 to 100000. They are numbered from 0.
    pub count: u64,
    /// How the rows of a chunk are shuffled: `"keyed"` by `run.seed` and the number of the chunk, or
    /// `"numpy"`, as NumPy does after `numpy.random.seed(run.seed + number)`. Rows after the last complete
    /// batch of a chunk are skipped.
    #[serde(default)]
    pub shuffle: ChunkShuffle,
    /// Numbers of the chunks that are skipped, with their steps and checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<u64>,
    /// Chunks that are read in place of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<Replacement>,
    /// Number of rows per source that are held out for validation, if the chunks are made from
    /// `[[data.mix]]`.
    #[serde(default)]
    pub validation_rows: u64,
}

/// A chunk that is read in place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// Number of the chunk that is replaced. It determines the order of the rows and the name of the
    /// checkpoint.
    pub chunk: u64,
    /// Number of the chunk whose rows are read.
    pub with: u64,
}

/// The order of the rows of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChunkShuffle {
    /// A keyed permutation, of which each position can be computed by itself.
    #[default]
    Keyed,
    /// `numpy.random.permutation` of the legacy generator, seeded for each chunk. This is the order of
    /// amber-train if a process started with the chunk.
    Numpy,
}

/// Maximum number of chunks in a directory.
const MOST_CHUNKS: u64 = 100_000;

impl ChunksConfig {
    /// The numbers of the chunks that are trained on, in their order, each with the number of the one that is
    /// read for it.
    pub(crate) fn assignments(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let read = |number| {
            self.replace.iter().find(|replacement| replacement.chunk == number).map_or(number, |r| r.with)
        };
        (0..self.count).filter(|number| !self.skip.contains(number)).map(move |number| (number, read(number)))
    }
}

impl ConfigSection for ChunksConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        let count = self.count;
        if !(1..=MOST_CHUNKS).contains(&count) {
            checker.report("count", count, format!("must be from 1 to {MOST_CHUNKS}"));
            return;
        }
        checker.require(
            self.path.is_none() || self.validation_rows == 0,
            "validation_rows",
            self.validation_rows,
            "must be absent if data.chunks.path is given: valid_NAME.jsonl in it are the validation rows",
        );
        let below_count = format!("must contain only numbers below data.chunks.count = {count}");
        checker.require(self.skip.iter().all(|number| *number < count), "skip", &self.skip, below_count);
        checker.require(
            self.assignments().next().is_some(),
            "skip",
            &self.skip,
            "must not contain all chunks",
        );
        let mut replaced = BTreeSet::new();
        for (i, &Replacement { chunk, with }) in self.replace.iter().enumerate() {
            let mut item = checker.item("replace", i);
            let below_count = format!("must be below data.chunks.count = {count}");
            item.require(chunk < count, "chunk", chunk, below_count.clone());
            item.require(with < count, "with", with, below_count);
            item.require(!self.skip.contains(&chunk), "chunk", chunk, "must not be in data.chunks.skip too");
            item.require(replaced.insert(chunk), "chunk", chunk, "must not be replaced twice");
        }
    }
}

/// A `[[data.mix]]` table: one source of the mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Name in logs and reports. Must differ from the names of the other sources. It affects the order of the
    /// rows.
    pub name: String,
    /// A file, a directory (with all subdirectories) or a glob pattern of `.txt` files (one document each) or
    /// `.jsonl` or `.json` files (one document per line), each also as `.gz` or `.zst`. Or token shards:
    /// their prefix, a `.bin` or `.idx` file, a directory or a glob pattern. `tinyworld` is the generated
    /// world.
    pub path: String,
    /// Field of a JSONL record that contains the text.
    #[serde(default = "default_field")]
    pub field: String,
    /// Relative weight: the fraction of the rows that come from this source is its weight divided by the sum
    /// of all weights. Above 0.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

fn default_field() -> String {
    "text".to_owned()
}

fn default_weight() -> f64 {
    1.0
}

impl ConfigSection for SourceConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        let is_positive = self.weight.is_finite() && self.weight > 0.0;
        checker.require(is_positive, "weight", self.weight, "must be a finite number above 0");
        checker.require(!self.name.is_empty(), "name", &self.name, "must not be empty");
    }
}

impl ConfigSection for DataConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(self.seq_len > 0, "seq_len", self.seq_len, "must be at least 1");
        checker.require(
            (0.0..1.0).contains(&self.validation_share),
            "validation_share",
            self.validation_share,
            "must be at least 0 and below 1",
        );
        let made_chunks = self.chunks.as_ref().map(|chunks| chunks.path.is_none());
        if let Some(chunks) = &self.chunks {
            chunks.check(&mut checker.nested("chunks"));
            if let (Some(path), false) = (&chunks.path, self.mix.is_empty()) {
                let message =
                    "must be absent if there are [[data.mix]] tables: chunks are read or made of the mix";
                checker.nested("chunks").report("path", path, message);
            }
        }
        if self.mix.is_empty() && made_chunks != Some(false) {
            let message = "is missing: at least one [[data.mix]] table with a name and a path is required";
            checker.push(Problem::new(checker.key("mix"), message));
        }
        let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        let mut names = BTreeSet::new();
        for (i, source) in self.mix.iter().enumerate() {
            let mut item = checker.item("mix", i);
            source.check(&mut item);
            let is_new = source.name.is_empty() || names.insert(&source.name);
            item.require(is_new, "name", &source.name, "must differ from the names of the other sources");
            item.require(
                made_chunks.is_none() || source.name.chars().all(is_plain),
                "name",
                &source.name,
                "must consist of letters, digits, `-`, `_` and `.`: files of chunks are named after it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, weight: f64) -> SourceConfig {
        SourceConfig { name: name.to_owned(), path: "x".to_owned(), field: default_field(), weight }
    }

    fn message(config: &DataConfig) -> String {
        config.validate("data").expect_err("the config is wrong").to_string()
    }

    #[test]
    fn ranges_are_checked_with_the_key_named() {
        let good = DataConfig { mix: vec![source("a", 1.0), source("b", 0.5)], ..DataConfig::default() };
        good.validate("data").unwrap();
        let none = DataConfig::default();
        let share = DataConfig { validation_share: f64::NAN, ..good.clone() };
        let weight = DataConfig { mix: vec![source("a", 1.0), source("b", 0.0)], ..good.clone() };
        let name = DataConfig { mix: vec![source("a", 1.0), source("a", 1.0)], ..good.clone() };
        let len = DataConfig { seq_len: 0, ..good };
        let messages = [none, share, weight, name, len].map(|config| message(&config)).join("\n");
        insta::assert_snapshot!(messages, @r#"
        data.mix: is missing: at least one [[data.mix]] table with a name and a path is required
        data.validation_share = NaN: must be at least 0 and below 1
        data.mix[1].weight = 0.0: must be a finite number above 0
        data.mix[1].name = "a": must differ from the names of the other sources
        data.seq_len = 0: must be at least 1
        "#);
    }

    #[test]
    fn chunks_are_checked_by_key() {
        let parsed = |toml: &str| -> DataConfig {
            serde_json::from_str(&format!(r#"{{ "mix": [], "chunks": {toml} }}"#)).unwrap()
        };
        let good = parsed(r#"{"path": "d", "count": 4, "skip": [2], "replace": [{"chunk": 3, "with": 0}]}"#);
        good.validate("data").unwrap();
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
        data.chunks.count = 0: must be from 1 to 100000
        data.mix: is missing: at least one [[data.mix]] table with a name and a path is required
        data.chunks.validation_rows = 2: must be absent if data.chunks.path is given: valid_NAME.jsonl in it are the validation rows
        data.chunks.skip = [3]: must contain only numbers below data.chunks.count = 3
        data.chunks.skip = [0, 1]: must not contain all chunks
        data.chunks.replace[0].with = 7: must be below data.chunks.count = 3
        data.chunks.replace[0].chunk = 1: must not be in data.chunks.skip too
        data.chunks.path = "d": must be absent if there are [[data.mix]] tables: chunks are read or made of the mix
        "#);
    }
}
