//! Text files and their formats.

use std::path::{Path, PathBuf};

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    pub(crate) path: PathBuf,
    pub(crate) format: TextFormat,
    pub(crate) compression: Compression,
}

/// Format of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// The whole file is one document.
    Plain,
    /// One JSON object per line.
    Jsonl,
}

/// Compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Splits the extension of a compressed file from a lower-case file name.
    pub(crate) fn of(name: &str) -> (&str, Self) {
        let endings = [(".gz", Self::Gzip), (".zst", Self::Zstd)];
        let stripped = |(ending, compression)| Some((name.strip_suffix(ending)?, compression));
        endings.into_iter().find_map(stripped).unwrap_or((name, Self::None))
    }
}

impl TextFile {
    /// Returns the file with the format that its name indicates, or `None` if it is not text.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, compression) = Compression::of(&name);
        let format = match Path::new(name).extension()?.to_str()? {
            "txt" => TextFormat::Plain,
            "jsonl" | "json" => TextFormat::Jsonl,
            _ => return None,
        };
        Some(Self { path: path.to_owned(), format, compression })
    }

    /// Returns the format and compression, as they enter fingerprints.
    pub(crate) fn kind(&self) -> String {
        format!("{:?}/{:?}", self.format, self.compression)
    }
}
