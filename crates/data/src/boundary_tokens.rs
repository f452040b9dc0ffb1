//! BOS and EOS around a document.

use std::fmt;

/// The special tokens around each document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundaryTokens {
    /// Id before each document.
    pub bos: Option<u32>,
    /// Id after each document.
    pub eos: Option<u32>,
}

impl BoundaryTokens {
    /// Returns the text that stands for these tokens in fingerprints. Changing it changes the fingerprint of
    /// every dataset.
    pub(crate) fn fingerprint_text(self) -> String {
        format!("Marks {{ bos: {:?}, eos: {:?} }}", self.bos, self.eos)
    }
}

impl fmt::Display for BoundaryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |id: Option<u32>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        write!(f, "BOS {} and EOS {}", shown(self.bos), shown(self.eos))
    }
}
