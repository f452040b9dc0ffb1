//! Text on disk: the files of a source, and the documents in them, one at a time.

// Files and their formats.
mod files;

// Finding files and reading their bytes.
mod decompress;
mod locate;

// Documents.
mod documents;
mod source;

pub use decompress::open_decompressed;
pub use source::{TextDocuments, TextSource};

pub(crate) use decompress::open_text;
pub(crate) use files::{TextFile, TextFormat};
pub(crate) use locate::{LocatedFiles, locate};
