//! Errors of files of weights.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};
use safetensors::SafeTensorError;
use thiserror::Error;

/// An error of files of weights. Each message names the file, and the tensor if it is about one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file cannot be read or written. The message contains its path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A directory contains no weights.
    #[error(
        "{path}: contains no weights; expected model.safetensors, pytorch_model.bin, an index of either, or \
         EasyLM's streaming_params"
    )]
    NoWeights {
        /// The directory.
        path: PathBuf,
    },
    /// A directory contains several files that could be read.
    #[error("{path}: contains {}; give the path of the file to read", files.join(" and "))]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// Names of the files.
        files: Vec<String>,
    },
    /// A file has an unknown layout.
    #[error("{path}: unknown file format; expected safetensors, a PyTorch archive or an EasyLM stream")]
    Unrecognized {
        /// The file.
        path: PathBuf,
    },
    /// A file has the format of PyTorch before version 1.6.
    #[error(
        "{path}: has the format of PyTorch before 1.6, which is not supported; load it with torch.load(..., \
         weights_only=True) and save it again with torch.save"
    )]
    Legacy {
        /// The file.
        path: PathBuf,
    },
    /// A file is not a safetensors file, or is truncated.
    #[error("{path}: not a complete safetensors file: {source}")]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        source: SafeTensorError,
    },
    /// A file doesn't have the format of its layout, or is truncated.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Difference from the format.
        problem: String,
    },
    /// A pickle uses something that is not part of the description of tensors.
    #[error(
        "{path}: its pickle uses {what}, which files of weights don't need; no part of it was executed. \
         Don't load this file with other programs unless you trust its author"
    )]
    Forbidden {
        /// The file.
        path: PathBuf,
        /// The call or the instruction.
        what: String,
    },
    /// The index is not JSON with a `weight_map`.
    #[error("{path}: {source}")]
    Index {
        /// The index.
        path: PathBuf,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// The index names a file in another directory.
    #[error("{path}: `{file}` is outside of the directory of the index")]
    OutsideDirectory {
        /// The index.
        path: PathBuf,
        /// Name of the file.
        file: String,
    },
    /// A file of the index is missing.
    #[error("{path}: `{file}` is missing; it should contain {tensors} tensors, for example `{first}`")]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// Name of the file.
        file: String,
        /// Number of tensors that it should contain.
        tensors: usize,
        /// Name of the first of them.
        first: String,
    },
    /// A tensor of the index is missing in its file.
    #[error("{path}: `{name}` should be in `{file}`, which has no such tensor")]
    MissingTensor {
        /// The index.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Name of the file.
        file: String,
    },
    /// A tensor occurs twice.
    #[error("{path}: `{name}` occurs a second time")]
    Duplicate {
        /// File with the second occurrence.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
    },
    /// A tensor is invalid.
    #[error("{path}: `{name}` {problem}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Description of the problem, which follows the name.
        problem: String,
    },
    /// The bytes of a file differ from its checksum.
    #[error("{path}: the checksum of `{name}` is wrong; the file is damaged, get it again")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Name of the tensor, or of the part of the archive.
        name: String,
    },
    /// There is too little disk space.
    #[error("{path}: needs {needed} bytes, but the disk has {free} bytes free; nothing was written")]
    NoSpace {
        /// Path that was to be written.
        path: PathBuf,
        /// Required space in bytes.
        needed: u64,
        /// Free space in bytes.
        free: u64,
    },
    /// The progress callback ended the operation.
    #[error("stopped before the end; no files were left")]
    Stopped,
    /// A written tensor differs from its source.
    #[error("{path}: `{name}` differs from its source: {problem}")]
    Mismatch {
        /// File that was written.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Description of the difference.
        problem: String,
    },
}

impl Classified for WeightsError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Environment
    }
}

impl WeightsError {
    pub(crate) fn malformed(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn tensor(path: impl Into<PathBuf>, name: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.into(), name: name.to_owned(), problem: problem.into() }
    }
}
