//! The safetensors format: headers of files, and the names of single and sharded files.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use ::safetensors::tensor::{Metadata, TensorInfo};
use ::safetensors::{Dtype, SafeTensorError};

use crate::dtype::element_size;
use crate::error::WeightsError;
use crate::tensor::{StoredTensor, ValueLocation, ValueOrder};

/// Name of the file of weights that aren't sharded.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Name of the index of sharded weights.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Largest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;
/// Size of the length that precedes the header.
const LENGTH: u64 = size_of::<u64>() as u64;

/// Description of a tensor in the header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorDescription {
    /// Name of the tensor.
    pub name: String,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Type of the values.
    pub dtype: Dtype,
}

impl TensorDescription {
    /// Returns the size of the values in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * element_size(self.dtype)) as u64
    }
}

/// Writes everything that precedes the values of these tensors, which must follow in this order.
///
/// The header contains the metadata that `transformers` requires.
///
/// # Errors
/// An error of `out`, and [`io::ErrorKind::InvalidInput`] for sizes that overflow.
pub fn write_header(out: &mut impl Write, tensors: &[TensorDescription]) -> io::Result<()> {
    let mut end = 0;
    let info = |tensor: &TensorDescription| {
        let start = end;
        end += tensor.bytes() as usize;
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    // `transformers` refuses a file without the framework's name.
    let framework = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(framework), tensors.iter().map(info).collect())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let mut json = serde_json::to_vec(&metadata)?;
    // Readers map the data, which the format aligns to a multiple of eight bytes.
    json.resize(json.len().next_multiple_of(8), b' ');
    out.write_all(&(json.len() as u64).to_le_bytes())?;
    out.write_all(&json)
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name, shape and type of the tensor.
    pub description: TensorDescription,
    /// Bytes of the file that its values occupy.
    pub file_range: Range<u64>,
}

/// Reads the header of a safetensors file, whose tensors are returned in alphabetic order.
///
/// The length of the header is bounded, and the values must fill the rest of the file exactly. They aren't
/// read.
///
/// # Errors
/// [`WeightsError::Io`] if the file cannot be read, and [`WeightsError::SafeTensors`] if it is truncated or
/// its header is invalid.
pub fn read_header(path: &Path) -> Result<Vec<TensorEntry>, WeightsError> {
    let invalid = |source| WeightsError::SafeTensors { path: path.to_owned(), source };
    let mut file = fs_err::File::open(path)?;
    let file_length = file.metadata()?.len();
    let mut length = [0; LENGTH as usize];
    if file_length < LENGTH {
        return Err(invalid(SafeTensorError::HeaderTooSmall));
    }
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(invalid(SafeTensorError::HeaderTooLarge));
    }
    let start = LENGTH + length;
    if start > file_length {
        return Err(invalid(SafeTensorError::InvalidHeaderLength));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|source| invalid(SafeTensorError::InvalidHeaderDeserialization(source)))?;
    if start + metadata.data_len() as u64 != file_length {
        return Err(invalid(SafeTensorError::MetadataIncompleteBuffer));
    }
    let entry = |(name, info): (String, &TensorInfo)| {
        let file_range = start + info.data_offsets.0 as u64..start + info.data_offsets.1 as u64;
        let description = TensorDescription { name, shape: info.shape.clone(), dtype: info.dtype };
        TensorEntry { description, file_range }
    };
    let mut entries: Vec<TensorEntry> = metadata.tensors().into_iter().map(entry).collect();
    entries.sort_by(|a, b| a.description.name.cmp(&b.description.name));
    Ok(entries)
}

/// Returns the tensors of a safetensors file, which must be complete.
pub(crate) fn open(path: &Path) -> Result<Vec<StoredTensor>, WeightsError> {
    let stored = |entry: TensorEntry| {
        let TensorDescription { name, shape, dtype } = entry.description;
        let location = ValueLocation { bytes: entry.file_range, order: ValueOrder::RowMajor, storage: None };
        StoredTensor { key: name.clone(), name, shape, dtype, file: path.to_owned(), location }
    };
    Ok(read_header(path)?.into_iter().map(stored).collect())
}
