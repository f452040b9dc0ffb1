//! Tensors in files, and the reading of their values.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc32fast::Hasher;
use safetensors::Dtype;
use serde::Serialize;

use crate::arrange::{Transposition, gather, interleaved};
use crate::dtype::element_size;
use crate::error::WeightsError;

/// Size of the pieces in which values are streamed, in bytes.
pub(crate) const PIECE_BYTES: usize = 4 << 20;

/// A tensor in a file, with the name and shape of Hugging Face's layout.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Name in Hugging Face's layout: `model.layers.0.self_attn.q_proj.weight`. Equal to `key` if the layout
    /// has no other name.
    pub name: String,
    /// Its name in the file.
    pub key: String,
    /// Shape in Hugging Face's layout. Matrices are `[out, in]`.
    pub shape: Vec<usize>,
    /// Type of the values.
    pub dtype: Dtype,
    /// File that contains the tensor.
    pub file: PathBuf,
    pub(crate) location: ValueLocation,
}

/// Position of the values of a tensor in a file, and their order.
#[derive(Clone, Debug)]
pub(crate) struct ValueLocation {
    pub(crate) bytes: Range<u64>,
    pub(crate) order: ValueOrder,
    /// Part of the file with a checksum that contains the bytes, if there is one.
    pub(crate) storage: Option<Arc<ChecksummedStorage>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueOrder {
    /// Row by row.
    RowMajor,
    /// A view with these strides, in elements.
    Strided(Vec<usize>),
    /// `[in, out]`, as JAX has it.
    Transposed,
    /// `[in, out]` with interleaved rotary rows. The head size is not in the file, but is required to read
    /// the values.
    Rotary { head_size: Option<usize> },
}

/// A part of a file with a checksum.
#[derive(Debug)]
pub(crate) struct ChecksummedStorage {
    pub(crate) bytes: Range<u64>,
    pub(crate) crc32: u32,
    pub(crate) verified: AtomicBool,
}

impl StoredTensor {
    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the size of the values in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.len() * element_size(self.dtype)) as u64
    }

    /// Returns the range of bytes of the file that the values occupy.
    #[must_use]
    pub fn file_range(&self) -> Range<u64> {
        self.location.bytes.clone()
    }

    /// Starts reading the values in row-major order of `shape`.
    ///
    /// # Errors
    /// [`WeightsError::Io`] if the file cannot be read, [`WeightsError::Checksum`] if it is damaged, and
    /// [`WeightsError::Tensor`] for a rotary tensor of EasyLM without the [head
    /// size](crate::WeightFiles::with_head_size).
    pub fn open(&self) -> Result<TensorReader<'_>, WeightsError> {
        self.open_in(ReadBuffers::default())
    }

    /// Like [`open`](Self::open), with buffers that another tensor doesn't need any more.
    pub(crate) fn open_in(&self, mut memory: ReadBuffers) -> Result<TensorReader<'_>, WeightsError> {
        let ValueLocation { bytes, order, storage } = &self.location;
        let mut file = fs_err::File::open(&self.file)?;
        let source = if *order == ValueOrder::RowMajor {
            // Values that are read from start to end are verified while they are read.
            let whole = storage.as_ref().filter(|storage| storage.bytes == *bytes).cloned();
            if let Some(part) = storage.as_ref().filter(|_| whole.is_none()) {
                self.verify(part, &mut file)?;
            }
            file.seek(SeekFrom::Start(bytes.start))?;
            ReadSource::File { file, checksum: whole.map(|storage| (Hasher::new(), storage)) }
        } else {
            self.read_reordered(&mut file, &mut memory)?;
            ReadSource::Buffers
        };
        Ok(TensorReader { tensor: self, left: self.bytes(), source, memory })
    }

    /// Returns all values in row-major order of `shape`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`TensorReader::read_exact`].
    pub fn read(&self) -> Result<Vec<u8>, WeightsError> {
        let mut values = vec![0; self.bytes() as usize];
        self.open()?.read_exact(&mut values)?;
        Ok(values)
    }

    /// Reads the values into memory and reorders them.
    fn read_reordered(&self, file: &mut fs_err::File, memory: &mut ReadBuffers) -> Result<(), WeightsError> {
        let ValueLocation { bytes, order, storage } = &self.location;
        if let Some(storage) = storage {
            self.verify(storage, file)?;
        }
        if self.is_empty() {
            return Ok(());
        }
        file.seek(SeekFrom::Start(bytes.start))?;
        let size = element_size(self.dtype);
        let values = resized(&mut memory.values, self.bytes() as usize);
        let columns = match order {
            ValueOrder::RowMajor => return Ok(file.read_exact(values)?),
            ValueOrder::Strided(strides) => {
                let stored = resized(&mut memory.piece, (bytes.end - bytes.start) as usize);
                file.read_exact(stored)?;
                gather(stored, &self.shape, strides, size, values);
                return Ok(());
            }
            ValueOrder::Transposed => None,
            ValueOrder::Rotary { head_size: Some(head_size) } => Some(interleaved(self.shape[0], *head_size)),
            ValueOrder::Rotary { head_size: None } => {
                return Err(WeightsError::tensor(
                    &self.file,
                    &self.key,
                    "cannot be read without the number of attention heads; the configuration of the model \
                     is required",
                ));
            }
        };
        let (width, height) = (self.shape[0], self.shape[1]);
        let transposition = Transposition { height, width, size, rows: None, columns, group: 1 };
        let step = transposition.rows_in(PIECE_BYTES);
        for first in (0..height).step_by(step) {
            let piece = resized(&mut memory.piece, step.min(height - first) * width * size);
            file.read_exact(piece)?;
            transposition.write_rows(first, piece, values);
        }
        Ok(())
    }

    /// Compares a part of the file with its checksum, once.
    fn verify(&self, storage: &ChecksummedStorage, file: &mut fs_err::File) -> Result<(), WeightsError> {
        if storage.verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        file.seek(SeekFrom::Start(storage.bytes.start))?;
        let mut hasher = Hasher::new();
        let mut left = storage.bytes.end - storage.bytes.start;
        let mut piece = vec![0; PIECE_BYTES.min(left as usize)];
        while left > 0 {
            let length = piece.len().min(left as usize);
            file.read_exact(&mut piece[..length])?;
            hasher.update(&piece[..length]);
            left -= length as u64;
        }
        self.check_checksum(hasher, storage)
    }

    fn check_checksum(&self, hasher: Hasher, storage: &ChecksummedStorage) -> Result<(), WeightsError> {
        if hasher.finalize() != storage.crc32 {
            return Err(WeightsError::Checksum { path: self.file.clone(), name: self.name.clone() });
        }
        storage.verified.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Buffers for values that have to be reordered. They are reused, because allocating memory takes longer than
/// reordering.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers {
    /// All values of a tensor, in order.
    values: Vec<u8>,
    /// A piece of the file.
    piece: Vec<u8>,
}

/// Returns the first `length` bytes of a buffer, which grows if necessary. Their content is unspecified.
pub(crate) fn resized(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

/// Reader of the values of a tensor.
#[derive(Debug)]
pub struct TensorReader<'a> {
    tensor: &'a StoredTensor,
    left: u64,
    source: ReadSource,
    memory: ReadBuffers,
}

#[derive(Debug)]
enum ReadSource {
    File {
        file: fs_err::File,
        checksum: Option<(Hasher, Arc<ChecksummedStorage>)>,
    },
    /// The buffers of the reader.
    Buffers,
}

impl TensorReader<'_> {
    /// Fills `values` with the next values.
    ///
    /// # Errors
    /// [`WeightsError::Io`] if the file cannot be read or has become shorter, [`WeightsError::Tensor`] if
    /// fewer values are left, and after the last value [`WeightsError::Checksum`] if the file is damaged.
    pub fn read_exact(&mut self, values: &mut [u8]) -> Result<(), WeightsError> {
        if values.len() as u64 > self.left {
            return Err(WeightsError::tensor(&self.tensor.file, &self.tensor.key, "has no more values"));
        }
        let at = self.position();
        match &mut self.source {
            ReadSource::File { file, checksum } => {
                file.read_exact(values)?;
                if let Some((hasher, _)) = checksum {
                    hasher.update(values);
                }
            }
            ReadSource::Buffers => values.copy_from_slice(&self.memory.values[at..][..values.len()]),
        }
        self.left -= values.len() as u64;
        if self.left == 0
            && let ReadSource::File { checksum, .. } = &mut self.source
            && let Some((hasher, storage)) = checksum.take()
        {
            self.tensor.check_checksum(hasher, &storage)?;
        }
        Ok(())
    }

    /// Returns the number of bytes that were read.
    fn position(&self) -> usize {
        (self.tensor.bytes() - self.left) as usize
    }

    /// Returns the next `length` bytes of values, or the rest. They are in `buffer` or in the buffers of the
    /// reader. Empty at the end.
    pub(crate) fn next_piece<'b>(
        &'b mut self,
        length: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], WeightsError> {
        let length = length.min(self.left as usize);
        if matches!(self.source, ReadSource::Buffers) {
            let at = self.position();
            self.left -= length as u64;
            return Ok(&self.memory.values[at..][..length]);
        }
        let piece = resized(buffer, length);
        if !piece.is_empty() {
            self.read_exact(piece)?;
        }
        Ok(piece)
    }

    /// Returns the buffers, for another tensor.
    pub(crate) fn into_memory(self) -> ReadBuffers {
        self.memory
    }
}

/// Part of a file that is not a weight of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IgnoredEntry {
    /// Its name in the file.
    pub name: String,
    /// Reason for ignoring it.
    pub reason: String,
}
