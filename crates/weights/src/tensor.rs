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

/// Values are moved in pieces of this many bytes where they need not be held whole.
pub(crate) const PIECE_BYTES: usize = 4 << 20;

/// A tensor in a file, under its Hugging Face name and in Hugging Face's shape.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Its name at Hugging Face: `model.layers.0.self_attn.q_proj.weight`. Its `key`, where the layout's own names say nothing else.
    pub name: String,
    /// Its name in the file.
    pub key: String,
    /// Its shape at Hugging Face: matrices are `[out, in]`.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub dtype: Dtype,
    /// The file that it is in.
    pub file: PathBuf,
    pub(crate) location: ValueLocation,
}

/// Where in a file the values of a tensor are, and in which order.
#[derive(Clone, Debug)]
pub(crate) struct ValueLocation {
    pub(crate) bytes: Range<u64>,
    pub(crate) order: ValueOrder,
    /// What the bytes are a part of, if that has a checksum.
    pub(crate) storage: Option<Arc<ChecksummedStorage>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueOrder {
    /// One row after the other.
    RowMajor,
    /// A view with these strides, in elements.
    Strided(Vec<usize>),
    /// `[in, out]`, as JAX has it.
    Transposed,
    /// `[in, out]` with interleaved rotary rows. The size of a head is not in the file, but must be known to read it.
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
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of its values in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.len() * element_size(self.dtype)) as u64
    }

    /// Where in the file its values lie.
    #[must_use]
    pub fn file_range(&self) -> Range<u64> {
        self.location.bytes.clone()
    }

    /// Starts to read the values, in row-major order of `shape`.
    ///
    /// # Errors
    /// Whatever is wrong with the file; [`WeightsError::Tensor`] for a rotary tensor of EasyLM without the
    /// [size of a head](crate::WeightFiles::with_head_size).
    pub fn open(&self) -> Result<TensorReader<'_>, WeightsError> {
        self.open_in(ReadBuffers::default())
    }

    /// As [`open`](Self::open), in memory that another tensor needs no more.
    pub(crate) fn open_in(&self, mut memory: ReadBuffers) -> Result<TensorReader<'_>, WeightsError> {
        let ValueLocation { bytes, order, storage } = &self.location;
        let mut file = fs_err::File::open(&self.file)?;
        let source = if *order == ValueOrder::RowMajor {
            // What is read from beginning to end is checked on the way.
            let whole = storage.as_ref().filter(|storage| storage.bytes == *bytes).cloned();
            if let Some(part) = storage.as_ref().filter(|_| whole.is_none()) {
                self.verify(part, &mut file)?;
            }
            file.seek(SeekFrom::Start(bytes.start))?;
            ReadSource::File { file, checksum: whole.map(|storage| (Hasher::new(), storage)) }
        } else {
            self.arrange(&mut file, &mut memory)?;
            ReadSource::Buffers
        };
        Ok(TensorReader { tensor: self, left: self.bytes(), source, memory })
    }

    /// All values, in row-major order of `shape`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(&self) -> Result<Vec<u8>, WeightsError> {
        let mut values = vec![0; self.bytes() as usize];
        self.open()?.read_exact(&mut values)?;
        Ok(values)
    }

    /// Reads the values into memory, in order.
    fn arrange(&self, file: &mut fs_err::File, memory: &mut ReadBuffers) -> Result<(), WeightsError> {
        let ValueLocation { bytes, order, storage } = &self.location;
        if let Some(storage) = storage {
            self.verify(storage, file)?;
        }
        if self.is_empty() {
            return Ok(());
        }
        file.seek(SeekFrom::Start(bytes.start))?;
        let size = element_size(self.dtype);
        let values = at_least(&mut memory.values, self.bytes() as usize);
        let columns = match order {
            ValueOrder::RowMajor => return Ok(file.read_exact(values)?),
            ValueOrder::Strided(strides) => {
                let stored = at_least(&mut memory.piece, (bytes.end - bytes.start) as usize);
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
                    "can't be read without the number of attention heads: the model's configuration is needed",
                ));
            }
        };
        let (width, height) = (self.shape[0], self.shape[1]);
        let transposition = Transposition { height, width, size, rows: None, columns, group: 1 };
        let step = transposition.rows_in(PIECE_BYTES);
        for first in (0..height).step_by(step) {
            let piece = at_least(&mut memory.piece, step.min(height - first) * width * size);
            file.read_exact(piece)?;
            transposition.place(first, piece, values);
        }
        Ok(())
    }

    /// Holds a part of the file to its checksum, once.
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
        self.hold(hasher, storage)
    }

    fn hold(&self, hasher: Hasher, storage: &ChecksummedStorage) -> Result<(), WeightsError> {
        if hasher.finalize() != storage.crc32 {
            return Err(WeightsError::Checksum { path: self.file.clone(), name: self.name.clone() });
        }
        storage.verified.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Memory for values that have to be turned around. Fresh memory costs more than to turn what is in it, so it is kept from tensor to tensor.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers {
    /// All values of a tensor, in order.
    values: Vec<u8>,
    /// A piece of the file.
    piece: Vec<u8>,
}

/// The first `length` bytes of a buffer, which grows if it has fewer. What is in them is left over.
pub(crate) fn at_least(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

/// The values of a tensor, from the first to the last.
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
    /// The reader's own.
    Buffers,
}

impl TensorReader<'_> {
    /// Fills `values` with the next ones, of which there must be as many.
    ///
    /// # Errors
    /// A file that has become shorter, or a tensor that has fewer values left; and with the last value [`WeightsError::Checksum`] for one that is damaged.
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
            self.tensor.hold(hasher, &storage)?;
        }
        Ok(())
    }

    /// How many bytes have been read.
    fn position(&self) -> usize {
        (self.tensor.bytes() - self.left) as usize
    }

    /// The next `length` values, or what is left: in `buffer`, or where they are in memory. Empty when all have been read.
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
        let piece = at_least(buffer, length);
        if !piece.is_empty() {
            self.read_exact(piece)?;
        }
        Ok(piece)
    }

    /// The memory, for another tensor.
    pub(crate) fn into_memory(self) -> ReadBuffers {
        self.memory
    }
}

/// Something in a checkpoint that is no weight of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IgnoredEntry {
    /// Its name in the file.
    pub name: String,
    /// Why it isn't read.
    pub reason: String,
}
