//! Text on disk: which files a source names, and the documents in them, one at a time.

// Files and their kinds.
mod files;

// Finding files and reading their bytes.
mod decompress;
mod locate;

// FileDocuments.
mod documents;
mod source;

pub use decompress::open_decompressed;
pub use source::{TextDocuments, TextSource};

pub(crate) use decompress::open_text;
pub(crate) use files::{TextFile, TextFormat};
pub(crate) use locate::{LocatedFiles, locate};
