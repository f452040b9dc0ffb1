use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

/// Why a store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// What was given as an address is none.
    #[error(
        "`{address}` is no place to keep a run: {reason}; expected s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a path"
    )]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store said no, or nothing. What the client knows of it is in the source.
    #[error("{url}")]
    Store {
        /// The object.
        url: String,
        /// What failed.
        source: Box<object_store::Error>,
    },
    /// An object is not what was written there, or what its checkpoint's manifest says.
    #[error("{url}: {reason}")]
    Damaged {
        /// The object.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A local file or folder could not be read or written; the message has the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder that should be a checkpoint has no readable manifest.
    #[error("{}: {reason}", path.display())]
    NoManifest {
        /// The manifest's place.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Classified for StorageError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Environment
    }
}

impl StorageError {
    /// The message with its causes, each once.
    #[must_use]
    pub fn with_causes(&self) -> String {
        fineline_diagnostics::with_causes(self)
    }
}
