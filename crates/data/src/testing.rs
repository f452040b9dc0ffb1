//! Helpers for the tests of several modules.

use std::path::Path;

use crate::config::SourceConfig;
use crate::tokenizer::{Tokenizer, train_bpe};

/// Creates a tokenizer of 256 bytes and three special tokens: one token per byte, BOS 1, EOS 2.
pub(crate) fn tiny_tokenizer(dir: &Path) -> Tokenizer {
    train_bpe([Ok("a".to_owned())].into_iter(), 259, &dir.join("tokenizer.json")).unwrap()
}

/// Returns a source of weight 1 with its text in the field `text`.
pub(crate) fn source(name: &str, path: &Path) -> SourceConfig {
    let path = path.to_str().unwrap().to_owned();
    SourceConfig { name: name.to_owned(), path, field: "text".to_owned(), weight: 1.0 }
}
