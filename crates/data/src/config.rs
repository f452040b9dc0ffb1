use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataError, Result};

/// `[tokenizer]`: how text becomes token ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// A `tokenizer.json`, a SentencePiece `.model`, or a folder that holds one. Absent: a byte-level BPE is trained on the training text, once,
    /// and kept in `data.cache`.
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
    /// Whether a token may only attend to tokens of its own document.
    pub document_mask: bool,
    /// Share of each source, from 0 up to but not including 1, that is kept out of training to measure perplexity: whole
    /// documents where that makes at least ten of them, otherwise the last tokens of the source.
    pub validation_share: f64,
    /// The sources.
    pub mix: Vec<SourceConfig>,
    /// Folder for what is made once from the sources: token shards and a trained tokenizer. Safe to delete between runs.
    pub cache: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            seq_len: 1024,
            packing: Packing::Stream,
            document_mask: false,
            validation_share: 0.01,
            mix: Vec::new(),
            cache: PathBuf::from(".fineline-cache"),
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

/// `[[data.mix]]`: one source of the mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Name in logs and reports, different for each source. Part of what decides the order of its rows.
    pub name: String,
    /// A file, a folder (with all below it) or a glob of `.txt` (one document a file), `.jsonl` or `.json` (one a line), each also
    /// as `.gz` or `.zst`; or token shards: their prefix, `.bin`, `.idx`, a folder or a glob.
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
        if self.mix.is_empty() {
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
}
