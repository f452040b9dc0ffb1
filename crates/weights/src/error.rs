//! Errors of files of weights.

use std::io;
use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};
use safetensors::SafeTensorError;
use thiserror::Error;

/// Why weights could not be read or written. Each names the file, and the tensor where it is about one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder without weights.
    #[error(
        "{path}: holds no weights: expected model.safetensors, pytorch_model.bin, an index of either, or EasyLM's streaming_params"
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// More than one file of a folder could be meant.
    #[error("{path}: holds {}: name the one to read", files.join(" and "))]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The files.
        files: Vec<String>,
    },
    /// A file of no layout that is known.
    #[error("{path}: is neither safetensors, nor a PyTorch archive, nor an EasyLM stream")]
    Unrecognized {
        /// The file.
        path: PathBuf,
    },
    /// A file from before PyTorch 1.6.
    #[error(
        "{path}: is in the format of PyTorch before 1.6, which is not read; load it once with torch.load(..., weights_only=True) and \
         save it again with torch.save"
    )]
    Legacy {
        /// The file.
        path: PathBuf,
    },
    /// A file is not safetensors, or is cut short.
    #[error("{path}: not a whole safetensors file: {source}")]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: SafeTensorError,
    },
    /// A file is not what its layout demands, or is cut short.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A pickle asks for something that describes no tensor.
    #[error(
        "{path}: its pickle uses {what}, which a file of weights has no need of; nothing of it was run. Don't load this file elsewhere \
         unless you trust who made it"
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
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The index names a file that is not beside it.
    #[error("{path}: `{file}` lies outside the folder of the index")]
    OutsideDirectory {
        /// The index.
        path: PathBuf,
        /// The file it names.
        file: String,
    },
    /// A file that the index names is not there.
    #[error("{path}: `{file}` is not there; it should hold {tensors} tensors, `{first}` among them")]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The file it names.
        file: String,
        /// How many tensors it should hold.
        tensors: usize,
        /// The first of these.
        first: String,
    },
    /// A tensor that the index names is not in its file.
    #[error("{path}: promises `{name}` in `{file}`, which has no such tensor")]
    MissingTensor {
        /// The index.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The file.
        file: String,
    },
    /// A tensor stands in a file, or in the files of a checkpoint, twice.
    #[error("{path}: `{name}` is there a second time")]
    Duplicate {
        /// The file with the second.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Something is wrong with one tensor.
    #[error("{path}: `{name}` {problem}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file's own checksum says that its bytes have changed.
    #[error("{path}: the checksum of `{name}` is wrong: the file is damaged")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The tensor, or the part of the archive.
        name: String,
    },
    /// The disk has no room for what is to be written.
    #[error("{path}: needs {needed} bytes, the disk has {free} left; nothing was written")]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// Its size.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// Whoever follows the progress said so.
    #[error("stopped before the end; nothing was left behind")]
    Stopped,
    /// What was read back is not what was to be written.
    #[error("{path}: `{name}` reads back differently from its source: {problem}")]
    Mismatch {
        /// The file written.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// How it differs.
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
