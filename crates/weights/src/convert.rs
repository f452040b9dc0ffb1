//! Writing tensors in a layout, and comparing what was written with its source.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fineline_files::free_space;
use safetensors::Dtype;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arrange::{Transposition, are_heads, in_halves};
use crate::dtype::element_size;
use crate::easylm::{self, STREAM_FILE, TensorTransform};
use crate::error::WeightsError;
use crate::output::OutputFile;
use crate::precision::{RoundingStats, convert, is_float};
use crate::safetensors::{INDEX_FILE, SINGLE_FILE, TensorDescription, write_header};
use crate::tensor::{PIECE_BYTES, ReadBuffers, StoredTensor, resized};
use crate::weight_files::WeightFiles;

/// Layout to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionTarget {
    /// Safetensors. A new file is started before one exceeds this size, and an index is added if there are
    /// several files.
    SafeTensors {
        /// Largest size of the tensors of a file in bytes.
        max_shard_bytes: u64,
    },
    /// EasyLM's stream of parameters.
    EasyLm {
        /// Size of an attention head.
        head_size: usize,
    },
}

/// Files that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConversionSummary {
    /// Names of the files.
    pub files: Vec<String>,
    /// Total size in bytes.
    pub bytes: u64,
}

/// Result of comparing written tensors with their sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConversionParity {
    /// Number of tensors that were compared. All of them are equal, bit for bit.
    pub tensors: usize,
    /// Number of values in these.
    pub values: u64,
    /// Effect of another precision. `None` if every tensor kept its type.
    pub rounding: Option<RoundingStats>,
}

/// Called with the number of bytes of each piece that was processed. `Break` ends the operation with
/// [`WeightsError::Stopped`].
pub type ByteProgress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Streams the values of tensors, with buffers that are reused.
struct TensorStream<'a> {
    /// Type to convert values to, if not their own.
    dtype: Option<Dtype>,
    on_bytes: ByteProgress<'a>,
    memory: ReadBuffers,
    piece: Vec<u8>,
    converted: Vec<u8>,
}

impl<'a> TensorStream<'a> {
    fn new(dtype: Option<Dtype>, on_bytes: ByteProgress<'a>) -> Self {
        Self { dtype, on_bytes, memory: ReadBuffers::default(), piece: Vec::new(), converted: Vec::new() }
    }

    /// Calls `each` with the values of a tensor in row-major order, in pieces of `length` bytes: as they are,
    /// and converted.
    fn for_each_piece(
        &mut self,
        tensor: &StoredTensor,
        length: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), WeightsError>,
    ) -> Result<(), WeightsError> {
        let other = self.dtype.filter(|&wanted| wanted != tensor.dtype);
        let mut reader = tensor.open_in(std::mem::take(&mut self.memory))?;
        loop {
            let piece = reader.next_piece(length, &mut self.piece)?;
            if piece.is_empty() {
                break;
            }
            match other {
                None => each(piece, piece)?,
                Some(wanted) => {
                    convert(piece, tensor.dtype, wanted, &mut self.converted);
                    each(piece, &self.converted)?;
                }
            }
            if (self.on_bytes)(piece.len() as u64).is_break() {
                return Err(WeightsError::Stopped);
            }
        }
        self.memory = reader.into_memory();
        Ok(())
    }

    /// Writes the values of a tensor in row-major order.
    fn copy(&mut self, tensor: &StoredTensor, out: &mut OutputFile) -> Result<(), WeightsError> {
        self.for_each_piece(tensor, PIECE_BYTES, |_, values| Ok(out.write_all(values)?))
    }
}

/// Writes tensors into an existing directory and syncs the files. Values keep their type, or are converted to
/// `dtype`.
///
/// At most one tensor is held in memory, if it has to be transposed.
///
/// # Errors
/// Any error of a source. [`WeightsError::Tensor`] if a tensor cannot be converted, or EasyLM has no name for
/// it. [`WeightsError::Stopped`] if `on_bytes` returns `Break`. [`WeightsError::Io`] if a file cannot be
/// written.
pub fn write_weights(
    tensors: &[&StoredTensor],
    target: ConversionTarget,
    dtype: Option<Dtype>,
    dir: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let refuse = |tensor: &StoredTensor, problem: String| {
        Err(WeightsError::tensor(&tensor.file, &tensor.key, problem))
    };
    for tensor in tensors {
        let wanted = dtype.unwrap_or(tensor.dtype);
        if wanted != tensor.dtype && !(is_float(tensor.dtype) && is_float(wanted)) {
            return refuse(tensor, format!("is {} and cannot be converted to {wanted}", tensor.dtype));
        }
    }
    match target {
        ConversionTarget::SafeTensors { max_shard_bytes } => {
            write_safetensors(tensors, max_shard_bytes, dtype, dir, on_bytes)
        }
        ConversionTarget::EasyLm { head_size } => write_easylm(tensors, head_size, dtype, dir, on_bytes),
    }
}

/// Returns the size of these tensors in bytes, in their own type or in `dtype`, without headers.
fn bytes_of(tensors: &[&StoredTensor], dtype: Option<Dtype>) -> u64 {
    tensors.iter().map(|tensor| described(tensor, dtype).bytes()).sum()
}

/// Checks that there is enough disk space at `path` for these tensors.
///
/// # Errors
/// [`WeightsError::NoSpace`] if there isn't, and [`WeightsError::Io`] if the free space cannot be determined.
pub fn check_space(path: &Path, tensors: &[&StoredTensor], dtype: Option<Dtype>) -> Result<(), WeightsError> {
    /// Bytes for headers, tokenizers and metadata of the file system.
    const MARGIN: u64 = 1 << 20;
    let needed = bytes_of(tensors, dtype) + MARGIN;
    let free = free_space(path)?;
    if free < needed {
        return Err(WeightsError::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}

/// Returns the description of a tensor in the file to write.
fn described(tensor: &StoredTensor, dtype: Option<Dtype>) -> TensorDescription {
    TensorDescription {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: dtype.unwrap_or(tensor.dtype),
    }
}

fn write_safetensors(
    tensors: &[&StoredTensor],
    max_shard_bytes: u64,
    dtype: Option<Dtype>,
    dir: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let shards = shards(tensors, max_shard_bytes, dtype);
    let mut stream = TensorStream::new(dtype, on_bytes);
    let mut written = ConversionSummary::default();
    let mut weight_map = serde_json::Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE_FILE.to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let mut file = OutputFile::create(&dir.join(&name))?;
        let mut header = Vec::new();
        let described: Vec<TensorDescription> = shard.iter().map(|tensor| described(tensor, dtype)).collect();
        write_header(&mut header, &described)?;
        file.write_all(&header)?;
        for tensor in shard {
            stream.copy(tensor, &mut file)?;
            weight_map.insert(tensor.name.clone(), Value::from(name.as_str()));
        }
        written.bytes += file.finish()?;
        written.files.push(name);
    }
    if shards.len() > 1 {
        weight_map.sort_keys();
        let index =
            json!({ "metadata": { "total_size": bytes_of(tensors, dtype) }, "weight_map": weight_map });
        let mut bytes = serde_json::to_vec_pretty(&index).map_err(io::Error::from)?;
        bytes.push(b'\n');
        fineline_files::write_synced(&dir.join(INDEX_FILE), &bytes)?;
        written.bytes += bytes.len() as u64;
        written.files.push(INDEX_FILE.to_owned());
    }
    Ok(written)
}

/// Returns the tensors of each file to write. A new file is started before one gets too large.
fn shards<'a>(
    tensors: &[&'a StoredTensor],
    max_shard_bytes: u64,
    dtype: Option<Dtype>,
) -> Vec<Vec<&'a StoredTensor>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for &tensor in tensors {
        let bytes = described(tensor, dtype).bytes();
        if filled > 0 && filled + bytes > max_shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(last) = shards.last_mut() {
            last.push(tensor);
        }
    }
    shards
}

fn write_easylm(
    tensors: &[&StoredTensor],
    head_size: usize,
    dtype: Option<Dtype>,
    dir: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let mut file = OutputFile::create(&dir.join(STREAM_FILE))?;
    let mut stream = TensorStream::new(dtype, on_bytes);
    let mut transposed = Vec::new();
    for tensor in tensors {
        let wrong = |problem: &str| WeightsError::tensor(&tensor.file, &tensor.key, problem);
        let (key, transform) =
            easylm::from_hugging_face(&tensor.name).ok_or_else(|| wrong("has no name in EasyLM"))?;
        let TensorDescription { mut shape, dtype: wanted, .. } = described(tensor, dtype);
        let bytes = described(tensor, dtype).bytes();
        if !easylm::fits(bytes) {
            return Err(wrong("is larger than 2 GiB, which EasyLM cannot read"));
        }
        if transform != TensorTransform::Identity {
            shape.reverse();
        }
        let mut header = Vec::new();
        easylm::write_header(&mut header, &key, &shape, wanted)?;
        file.write_all(&header)?;
        let [width, height] = match (transform, &shape[..]) {
            (TensorTransform::Identity, _) => {
                stream.copy(tensor, &mut file)?;
                continue;
            }
            (_, &[width, height]) => [width, height],
            _ => return Err(wrong("is not a matrix")),
        };
        let (rows, group) = match transform {
            TensorTransform::TransposeRotary if are_heads(height, head_size) => {
                (Some(in_halves(height, head_size)), head_size)
            }
            TensorTransform::TransposeRotary => {
                return Err(wrong(&format!(
                    "has {height} rows, not a multiple of the head size {head_size}"
                )));
            }
            _ => (None, 1),
        };
        let transposition =
            Transposition { height, width, size: element_size(wanted), rows, columns: None, group };
        let step = transposition.rows_in(PIECE_BYTES);
        let transposed = resized(&mut transposed, bytes as usize);
        let mut first = 0;
        stream.for_each_piece(tensor, step * width * element_size(tensor.dtype), |_, values| {
            transposition.write_rows(first, values, transposed);
            first += step;
            Ok(())
        })?;
        file.write_all(transposed)?;
    }
    Ok(ConversionSummary { files: vec![STREAM_FILE.to_owned()], bytes: file.finish()? })
}

/// Compares written files with their sources, which are read again.
///
/// # Errors
/// [`WeightsError::Mismatch`] at the first difference of a name, a shape, a type or a bit.
/// [`WeightsError::Stopped`] if `on_bytes` returns `Break`. Any error of a file.
pub fn compare_weights(
    tensors: &[&StoredTensor],
    written: &WeightFiles,
    dtype: Option<Dtype>,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionParity, WeightsError> {
    let mut parity = ConversionParity::default();
    let mut comparison = TensorComparison {
        sources: TensorStream::new(dtype, on_bytes),
        memory: ReadBuffers::default(),
        piece: Vec::new(),
        rounding: None,
    };
    let differs = |path: &Path, name: &str, problem: String| {
        let (path, name): (PathBuf, String) = (path.to_owned(), name.to_owned());
        Err(WeightsError::Mismatch { path, name, problem })
    };
    if let Some(name) =
        written.tensors.keys().find(|name| !tensors.iter().any(|tensor| tensor.name == **name))
    {
        return differs(&written.path, name, "it has no source".to_owned());
    }
    for source in tensors {
        let expected = described(source, dtype);
        let Some(found) = written.tensors.get(&source.name) else {
            return differs(&written.path, &source.name, "it is missing".to_owned());
        };
        if found.shape != expected.shape || found.dtype != expected.dtype {
            let problem = format!(
                "{:?} {} instead of {:?} {}",
                found.shape, found.dtype, expected.shape, expected.dtype
            );
            return differs(&found.file, &found.key, problem);
        }
        if let Some(at) = comparison.first_difference(source, found)? {
            return differs(&found.file, &found.key, format!("at byte {at} of its values"));
        }
        parity.tensors += 1;
        parity.values += source.len() as u64;
    }
    parity.rounding = comparison.rounding;
    Ok(parity)
}

/// State of a comparison.
struct TensorComparison<'a> {
    sources: TensorStream<'a>,
    memory: ReadBuffers,
    piece: Vec<u8>,
    rounding: Option<RoundingStats>,
}

impl TensorComparison<'_> {
    /// Returns the index of the first byte in which a tensor differs from its converted source.
    fn first_difference(
        &mut self,
        source: &StoredTensor,
        found: &StoredTensor,
    ) -> Result<Option<usize>, WeightsError> {
        let mut reader = found.open_in(std::mem::take(&mut self.memory))?;
        let mut at = 0;
        let mut difference = None;
        self.sources.for_each_piece(source, PIECE_BYTES, |values, expected| {
            let found_values = reader.next_piece(expected.len(), &mut self.piece)?;
            if difference.is_none() && found_values != expected {
                let index = found_values.iter().zip(expected).position(|(found, expected)| found != expected);
                difference = Some(at + index.unwrap_or_default());
            }
            if source.dtype != found.dtype {
                self.rounding.get_or_insert_default().add(values, source.dtype, found_values, found.dtype);
            }
            at += expected.len();
            Ok(())
        })?;
        self.memory = reader.into_memory();
        Ok(difference)
    }
}
