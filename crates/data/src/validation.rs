//! Rows that are held out from training.

use std::sync::Arc;

use crate::packing::Packer;
use crate::packing::{DocumentPart, Row};
use crate::shards::SourceTokens;
use crate::tokenizer::Tokenizer;

/// The part of a source that is held out from training.
#[derive(Debug)]
pub struct ValidationSource {
    name: String,
    tokens: Arc<SourceTokens>,
    packer: Packer,
    tokenizer: Tokenizer,
}

/// A row on which perplexity is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationRow {
    /// The tokens. Over all rows of a source, each token that has a token before it is a target once.
    pub row: Row,
    /// `[seq_len]` numbers of bytes of text that the target of each input stands for. 0 if the target doesn't
    /// count (`row.target_mask`) and for special tokens. Bits per byte are `nats / (ln 2 * bytes)`, both
    /// summed over the targets of all rows that have bytes.
    pub target_bytes: Vec<u32>,
}

impl ValidationSource {
    pub(crate) fn new(name: &str, tokens: Arc<SourceTokens>, packer: Packer, tokenizer: Tokenizer) -> Self {
        Self { name: name.to_owned(), tokens, packer, tokenizer }
    }

    /// Returns the name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of rows. The last one is padded.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.packer.rows()
    }

    /// Returns a row by its number, in the order of the documents.
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

    fn target_bytes(&self, row: &Row, parts: &[DocumentPart]) -> Vec<u32> {
        let targets = row.tokens[1..].iter().zip(&row.target_mask);
        let bytes = |(&id, &counts)| if counts { self.tokenizer.byte_len(id) as u32 } else { 0 };
        let mut bytes: Vec<u32> = targets.map(bytes).collect();
        for begin in parts.iter().filter_map(|part| self.target_that_begins(row, part)) {
            bytes[begin] = bytes[begin].saturating_sub(self.tokenizer.prefix_bytes() as u32);
        }
        bytes
    }

    /// Returns the index of the target that is the first token of the text of a document, to which the
    /// tokenizer added its prefix.
    fn target_that_begins(&self, row: &Row, part: &DocumentPart) -> Option<usize> {
        let begins_with_bos = Some(row.tokens[part.at.start]) == self.tokenizer.bos_id();
        let first = part.at.start + usize::from(begins_with_bos);
        let has_text = part.tokens.start == 0 && first < part.at.end;
        has_text.then(|| first.checked_sub(1)).flatten()
    }
}
