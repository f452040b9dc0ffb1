//! Files of text and their kinds.

use std::path::{Path, PathBuf};

/// One file of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    pub(crate) path: PathBuf,
    pub(crate) format: TextFormat,
    pub(crate) compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// The whole file is one document.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// A file name in small letters without the ending that says how the file is compressed.
    pub(crate) fn of(name: &str) -> (&str, Self) {
        let endings = [(".gz", Self::Gzip), (".zst", Self::Zstd)];
        let stripped = |(ending, compression)| Some((name.strip_suffix(ending)?, compression));
        endings.into_iter().find_map(stripped).unwrap_or((name, Self::None))
    }
}

impl TextFile {
    /// The file's kind by its name, or `None` if it is not text.
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

    /// How the bytes are to be read, for fingerprints.
    pub(crate) fn kind(&self) -> String {
        format!("{:?}/{:?}", self.format, self.compression)
    }
}
