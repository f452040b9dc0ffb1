//! The files that a configuration names.

use fineline_diagnostics::ConfigSection;

use std::path::PathBuf;

use crate::config::{DataConfig, SourceConfig};
use crate::error::{DataError, Result};
use crate::text::TextSource;
use crate::text::{LocatedFiles, locate};

/// The files of a `[data]` section. Text files are hashed at most once.
#[derive(Debug)]
pub struct Corpus {
    config: DataConfig,
    data: Vec<SourceData>,
}

/// Contents of a source.
#[derive(Debug)]
pub(crate) enum SourceData {
    Text(TextSource),
    /// Prefixes of token shards.
    Shards(Vec<PathBuf>),
}

impl SourceData {
    pub(crate) fn of(source: &SourceConfig) -> Result<Self> {
        Ok(match locate(&source.path)? {
            LocatedFiles::Text(files) => Self::Text(TextSource::new(source, files)),
            LocatedFiles::Shards(prefixes) => Self::Shards(prefixes),
        })
    }
}

impl Corpus {
    /// Finds the files of all sources.
    ///
    /// # Errors
    /// [`DataError::Config`] if the section is invalid, and [`DataError::Source`] if the path of a source
    /// doesn't exist or contains no usable files.
    pub fn find(config: &DataConfig) -> Result<Self> {
        config.validate("data")?;
        let open =
            |source: &SourceConfig| SourceData::of(source).map_err(|error| error.in_source(&source.name));
        Ok(Self { config: config.clone(), data: config.mix.iter().map(open).collect::<Result<_>>()? })
    }

    /// Returns the section that was resolved.
    #[must_use]
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Returns the sources with their contents, in the order of the configuration.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&SourceConfig, &SourceData)> {
        self.config.mix.iter().zip(&self.data)
    }

    /// Returns the text of every source, with the name of the source.
    ///
    /// # Errors
    /// [`DataError::NoTokenizer`] if a source contains token ids: text is only needed to train a tokenizer.
    pub(crate) fn texts(&self) -> Result<Vec<(&str, &TextSource)>> {
        if let Some(path) = self.config.chunks.as_ref().and_then(|chunks| chunks.path.as_ref()) {
            return Err(DataError::NoTokenizer { name: path.display().to_string() });
        }
        let mut texts = Vec::new();
        for (source, data) in self.sources() {
            match data {
                SourceData::Text(text) => texts.push((source.name.as_str(), text)),
                SourceData::Shards(_) => {
                    let name = source.name.clone();
                    return Err(DataError::NoTokenizer { name }.in_source(&source.name));
                }
            }
        }
        Ok(texts)
    }
}
