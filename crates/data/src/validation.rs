use std::sync::Arc;

use crate::packing::Packer;
use crate::tokens::Tokens;
use crate::{DocumentPart, Row, Tokenizer};

/// The part of a source that is never trained on.
#[derive(Debug)]
pub struct ValidationSource {
    name: String,
    tokens: Arc<Tokens>,
    packer: Packer,
    tokenizer: Tokenizer,
}

/// A row to measure perplexity on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationRow {
    /// The tokens. Over all rows of a source, each token that has one before it is a target once.
    pub row: Row,
    /// Bytes of text that the row's targets stand for, special tokens having none: bits per byte are
    /// `nats / (ln 2 * target_bytes)`, both summed over rows.
    pub target_bytes: u64,
}

impl ValidationSource {
    pub(crate) fn new(name: &str, tokens: Arc<Tokens>, packer: Packer, tokenizer: Tokenizer) -> Self {
        Self { name: name.to_owned(), tokens, packer, tokenizer }
    }

    /// `name` of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows there are; the last is padded.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.packer.rows()
    }

    /// A row by its number, in the order of the documents.
    ///
    /// # Panics
    /// If `number` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, number: u64) -> ValidationRow {
        assert!(number < self.rows(), "row {number} of {} validation rows", self.rows());
        let row = self.packer.row(&self.tokens, number);
        let parts = self.packer.parts(&self.tokens, number);
        let target_bytes = self.target_bytes(&row, &parts);
        ValidationRow { row, target_bytes }
    }

    fn target_bytes(&self, row: &Row, parts: &[DocumentPart]) -> u64 {
        let counted = row.tokens[1..].iter().zip(&row.target_mask).filter(|(_, counts)| **counts);
        let bytes: usize = counted.map(|(&id, _)| self.tokenizer.byte_len(id)).sum();
        let begun = parts.iter().filter(|part| self.predicts_begin(row, part)).count();
        (bytes - begun * self.tokenizer.prefix_bytes()) as u64
    }

    /// Whether the first token of a document's text is a target of the row; to it the tokenizer added its prefix.
    fn predicts_begin(&self, row: &Row, part: &DocumentPart) -> bool {
        let begins_with_bos = Some(row.tokens[part.at.start]) == self.tokenizer.bos_id();
        let first = part.at.start + usize::from(begins_with_bos);
        part.tokens.start == 0 && first > 0 && first < part.at.end && row.target_mask[first - 1]
    }
}
