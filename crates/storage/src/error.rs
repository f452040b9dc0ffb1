//! Errors of remote storage.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

/// Errors of reading and writing a store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The address is invalid.
    #[error(
        "`{address}`: {reason}; \
         expected s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a path"
    )]
    Address {
        /// The given address.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The store returned an error or didn't respond. The source has the client's details.
    #[error("{url}")]
    Store {
        /// The object.
        url: String,
        /// The client's error.
        source: Box<object_store::Error>,
    },
    /// An object doesn't match what was written, or its checkpoint's manifest.
    #[error("{url}: {reason}")]
    Damaged {
        /// The object.
        url: String,
        /// The difference.
        reason: String,
    },
    /// A local file or directory can't be read or written. The message contains the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A checkpoint directory has no readable manifest.
    #[error("{}: {reason}", path.display())]
    NoManifest {
        /// Path of the manifest.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Classified for StorageError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Environment
    }
}

impl StorageError {
    /// Returns the message with those of its causes, each once.
    #[must_use]
    pub fn with_causes(&self) -> String {
        fineline_diagnostics::with_causes(self)
    }
}
