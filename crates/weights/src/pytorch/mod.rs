//! PyTorch's `.bin` since version 1.6: a zip archive with a pickle, `data.pkl`, and the values of each
//! storage as a file below `data/`.

mod pickle;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::arrange::{extent, is_row_major};
use crate::dtype::element_size;
use crate::error::WeightsError;
use crate::tensor::{ChecksummedStorage, StoredTensor, ValueLocation, ValueOrder};
use pickle::{PickleError, PickledTensor, read_state_dict};

/// Name of the file of weights that aren't sharded.
pub(crate) const SINGLE_FILE: &str = "pytorch_model.bin";
/// Name of the index of sharded weights.
pub(crate) const INDEX_FILE: &str = "pytorch_model.bin.index.json";

/// Largest pickle that is read, in bytes. That of a model with 65 billion parameters has 0.2 MB.
const MAX_PICKLE: u64 = 16 << 20;
/// Largest record of one word, in bytes.
const MAX_RECORD: u64 = 64;

/// Returns the tensors of a `.bin` file.
pub(crate) fn open(path: &Path) -> Result<Vec<StoredTensor>, WeightsError> {
    let mut archive = TorchArchive::open(path)?;
    if let Some(order) = archive.read("byteorder", MAX_RECORD)?
        && order != b"little"
    {
        return Err(WeightsError::malformed(
            path,
            "was saved on a big-endian machine, which is not supported",
        ));
    }
    let Some(pickle) = archive.read("data.pkl", MAX_PICKLE)? else {
        return Err(WeightsError::malformed(path, "not a PyTorch file: a zip archive without data.pkl"));
    };
    let described = read_state_dict(&pickle).map_err(|error| match error {
        PickleError::Forbidden(what) => WeightsError::Forbidden { path: path.to_owned(), what },
        PickleError::Malformed(problem) => WeightsError::malformed(path, problem),
    })?;
    let mut storages = HashMap::new();
    let mut tensors = Vec::with_capacity(described.len());
    for (name, described) in described {
        let key = &described.storage.key;
        let storage = if let Some(storage) = storages.get(key) {
            Arc::clone(storage)
        } else {
            let storage = Arc::new(archive.storage(key, &name)?);
            storages.insert(key.clone(), Arc::clone(&storage));
            storage
        };
        tensors.push(tensor(path, name, described, &storage)?);
    }
    Ok(tensors)
}

/// Locates a tensor in its storage, which must contain it.
fn tensor(
    path: &Path,
    name: String,
    described: PickledTensor,
    storage: &Arc<ChecksummedStorage>,
) -> Result<StoredTensor, WeightsError> {
    let PickledTensor { storage: claimed, offset, shape, strides } = described;
    let wrong = |problem: String| Err(WeightsError::tensor(path, &name, problem));
    let size = element_size(claimed.dtype) as u64;
    let stored = storage.bytes.end - storage.bytes.start;
    if (claimed.len as u64).checked_mul(size) != Some(stored) {
        let (len, dtype) = (claimed.len, claimed.dtype);
        return wrong(format!(
            "should be in a storage of {len} values of {dtype}, but the storage has {stored} bytes"
        ));
    }
    let count = shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
    let end = extent(&shape, &strides).and_then(|extent| offset.checked_add(extent));
    // A view may repeat its elements (`expand`) and be larger than any file. No parameter does.
    let fits = |end: usize| end <= claimed.len && count.is_some_and(|count| count <= claimed.len);
    let Some(end) = end.filter(|&end| fits(end)) else {
        return wrong(format!(
            "of shape {shape:?}, strides {strides:?}, offset {offset} is outside of its storage of {} \
             values, or repeats them",
            claimed.len
        ));
    };
    let start = storage.bytes.start + offset as u64 * size;
    let bytes = start..storage.bytes.start + end as u64 * size;
    let order =
        if is_row_major(&shape, &strides) { ValueOrder::RowMajor } else { ValueOrder::Strided(strides) };
    // PyTorch can be configured to write no checksums, and then writes zero.
    let storage = (storage.crc32 != 0).then(|| Arc::clone(storage));
    Ok(StoredTensor {
        key: name.clone(),
        name,
        shape,
        dtype: claimed.dtype,
        file: path.to_owned(),
        location: ValueLocation { bytes, order, storage },
    })
}

/// A zip archive whose files are in one directory.
struct TorchArchive<'a> {
    path: &'a Path,
    zip: ZipArchive<fs_err::File>,
    /// Usually `pytorch_model/`.
    dir: String,
    /// End of the values and start of the central directory.
    end: u64,
}

impl<'a> TorchArchive<'a> {
    fn open(path: &'a Path) -> Result<Self, WeightsError> {
        let zip = ZipArchive::new(fs_err::File::open(path)?).map_err(|error| damaged(path, error))?;
        if zip.has_duplicate_names() {
            return Err(WeightsError::malformed(path, "a zip archive with two files of the same name"));
        }
        let mut dir = String::new();
        for name in zip.file_names() {
            let name = name.map_err(|error| damaged(path, error))?;
            if let Some(found) = name.strip_suffix("data.pkl")
                && (found.is_empty() || found.ends_with('/'))
            {
                found.clone_into(&mut dir);
            }
        }
        let end = zip.central_directory_start();
        Ok(Self { path, zip, dir, end })
    }

    /// Returns the content of a small file, if it exists.
    fn read(&mut self, name: &str, max: u64) -> Result<Option<Vec<u8>>, WeightsError> {
        let path = self.path;
        let file = match self.zip.by_name(&format!("{}{name}", self.dir)) {
            Err(ZipError::FileNotFound) => return Ok(None),
            file => file.map_err(|error| damaged(path, error))?,
        };
        let too_long =
            || WeightsError::malformed(path, format!("{name} is too large; expected at most {max} bytes"));
        if file.size() > max {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        // The size is a claim of the archive. The decompressed file may be larger.
        file.take(max + 1).read_to_end(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                WeightsError::Checksum { path: path.to_owned(), name: name.to_owned() }
            }
            _ => error.into(),
        })?;
        if bytes.len() as u64 > max { Err(too_long()) } else { Ok(Some(bytes)) }
    }

    /// Returns the position of the values of a storage, which are stored uncompressed.
    fn storage(&mut self, key: &str, tensor: &str) -> Result<ChecksummedStorage, WeightsError> {
        let (path, end) = (self.path, self.end);
        let name = format!("{}data/{key}", self.dir);
        let wrong = |problem: String| WeightsError::tensor(path, tensor, problem);
        let Some(index) = self.zip.index_for_name(&name) else {
            return Err(wrong(format!("is in a storage that is missing in the archive: {name}")));
        };
        let file = self.zip.by_index_raw(index).map_err(|error| damaged(path, error))?;
        if file.compression() != CompressionMethod::Stored
            || file.encrypted()
            || file.compressed_size() != file.size()
        {
            return Err(wrong(format!(
                "is compressed ({name}), unlike in PyTorch's archives; create the archive without compression"
            )));
        }
        let start =
            file.data_start().ok_or_else(|| wrong(format!("has no position in the archive ({name})")))?;
        match start.checked_add(file.size()) {
            Some(stop) if stop <= end => {
                let (bytes, crc32) = (start..stop, file.crc32());
                Ok(ChecksummedStorage { bytes, crc32, verified: AtomicBool::new(false) })
            }
            _ => Err(wrong(format!("extends beyond the values of the archive ({name})"))),
        }
    }
}

fn damaged(path: &Path, error: ZipError) -> WeightsError {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => error.into(),
        error => WeightsError::malformed(path, format!("not a complete zip archive of PyTorch: {error}")),
    }
}
