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
use crate::tensor::{PIECE_BYTES, ReadBuffers, StoredTensor, at_least};
use crate::weight_files::WeightFiles;

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionTarget {
    /// Safetensors, in files of at most this size where a tensor doesn't take more, with an index if they are several.
    SafeTensors {
        /// Bytes of tensors in one file.
        max_shard_bytes: u64,
    },
    /// EasyLM's stream of parameters.
    EasyLm {
        /// Width of an attention head.
        head_size: usize,
    },
}

/// The files that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConversionSummary {
    /// Their names.
    pub files: Vec<String>,
    /// Their size.
    pub bytes: u64,
}

/// What was found when written tensors were read back and held to their sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConversionParity {
    /// Tensors that were compared, all of them equal, bit for bit.
    pub tensors: usize,
    /// Values in these.
    pub values: u64,
    /// What another precision did; nothing where every tensor kept its own.
    pub rounding: Option<RoundingStats>,
}

/// Called with the number of bytes of each piece that is done with; says whether to go on, or to end with
/// [`WeightsError::Stopped`].
pub type ByteProgress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Passes the values of tensors on, in memory that is kept from one to the next.
struct TensorStream<'a> {
    /// The type they are given, if not their own.
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

    /// Gives `each` the values of a tensor in row-major order, in pieces of `length` bytes but for the last: as they are, and in the
    /// type that is wanted.
    fn pass(
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
        self.pass(tensor, PIECE_BYTES, |_, values| Ok(out.write_all(values)?))
    }
}

/// Writes tensors into a folder, which must exist, and waits for the disk. Values are kept as they are, or given the type `dtype`.
///
/// One tensor at most is held in memory, where it has to be turned around.
///
/// # Errors
/// What is wrong with a source; [`WeightsError::Tensor`] for one that can't be given another type, or that EasyLM has no name for.
pub fn write_weights(
    tensors: &[&StoredTensor],
    target: ConversionTarget,
    dtype: Option<Dtype>,
    folder: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let refuse = |tensor: &StoredTensor, problem: String| {
        Err(WeightsError::tensor(&tensor.file, &tensor.key, problem))
    };
    for tensor in tensors {
        let wanted = dtype.unwrap_or(tensor.dtype);
        if wanted != tensor.dtype && !(is_float(tensor.dtype) && is_float(wanted)) {
            return refuse(tensor, format!("is {} and can't be made {wanted}", tensor.dtype));
        }
    }
    match target {
        ConversionTarget::SafeTensors { max_shard_bytes } => {
            write_safetensors(tensors, max_shard_bytes, dtype, folder, on_bytes)
        }
        ConversionTarget::EasyLm { head_size } => write_easylm(tensors, head_size, dtype, folder, on_bytes),
    }
}

/// Bytes that these tensors take, in their own type or in `dtype`, without headers.
fn bytes_of(tensors: &[&StoredTensor], dtype: Option<Dtype>) -> u64 {
    tensors.iter().map(|tensor| described(tensor, dtype).bytes()).sum()
}

/// Checks that the disk that `path` is to lie on has room for these tensors.
///
/// # Errors
/// [`WeightsError::NoSpace`] if it hasn't.
pub fn check_space(path: &Path, tensors: &[&StoredTensor], dtype: Option<Dtype>) -> Result<(), WeightsError> {
    /// For headers, tokenizers and the file system's own records.
    const MARGIN: u64 = 1 << 20;
    let needed = bytes_of(tensors, dtype) + MARGIN;
    let free = free_space(path)?;
    if free < needed {
        return Err(WeightsError::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}

/// A tensor as it is to be.
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
    folder: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let shards = shards(tensors, max_shard_bytes, dtype);
    let mut passage = TensorStream::new(dtype, on_bytes);
    let mut written = ConversionSummary::default();
    let mut weight_map = serde_json::Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE_FILE.to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let mut file = OutputFile::create(&folder.join(&name))?;
        let mut header = Vec::new();
        let described: Vec<TensorDescription> = shard.iter().map(|tensor| described(tensor, dtype)).collect();
        write_header(&mut header, &described)?;
        file.write_all(&header)?;
        for tensor in shard {
            passage.copy(tensor, &mut file)?;
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
        fineline_files::write_synced(&folder.join(INDEX_FILE), &bytes)?;
        written.bytes += bytes.len() as u64;
        written.files.push(INDEX_FILE.to_owned());
    }
    Ok(written)
}

/// Tensors by the file they go to: one after the other, and on to the next file before it gets too large.
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
    folder: &Path,
    on_bytes: ByteProgress<'_>,
) -> Result<ConversionSummary, WeightsError> {
    let mut file = OutputFile::create(&folder.join(STREAM_FILE))?;
    let mut passage = TensorStream::new(dtype, on_bytes);
    let mut turned = Vec::new();
    for tensor in tensors {
        let wrong = |problem: &str| WeightsError::tensor(&tensor.file, &tensor.key, problem);
        let (key, turn) =
            easylm::from_hugging_face(&tensor.name).ok_or_else(|| wrong("has no name in EasyLM"))?;
        let TensorDescription { mut shape, dtype: wanted, .. } = described(tensor, dtype);
        let bytes = described(tensor, dtype).bytes();
        if !easylm::fits(bytes) {
            return Err(wrong("has more bytes (2 GiB) than EasyLM can read of one tensor"));
        }
        if turn != TensorTransform::Identity {
            shape.reverse();
        }
        let mut header = Vec::new();
        easylm::write_header(&mut header, &key, &shape, wanted)?;
        file.write_all(&header)?;
        let [width, height] = match (turn, &shape[..]) {
            (TensorTransform::Identity, _) => {
                passage.copy(tensor, &mut file)?;
                continue;
            }
            (_, &[width, height]) => [width, height],
            _ => return Err(wrong("is no matrix")),
        };
        let (rows, group) = match turn {
            TensorTransform::TransposeRotary if are_heads(height, head_size) => {
                (Some(in_halves(height, head_size)), head_size)
            }
            TensorTransform::TransposeRotary => {
                return Err(wrong(&format!("has {height} rows, which heads of {head_size} don't divide")));
            }
            _ => (None, 1),
        };
        let transposition =
            Transposition { height, width, size: element_size(wanted), rows, columns: None, group };
        let step = transposition.rows_in(PIECE_BYTES);
        let turned = at_least(&mut turned, bytes as usize);
        let mut first = 0;
        passage.pass(tensor, step * width * element_size(tensor.dtype), |_, values| {
            transposition.place(first, values, turned);
            first += step;
            Ok(())
        })?;
        file.write_all(turned)?;
    }
    Ok(ConversionSummary { files: vec![STREAM_FILE.to_owned()], bytes: file.finish()? })
}

/// Reads what was [written](write_weights) and holds every tensor to its source, which is read again.
///
/// # Errors
/// [`WeightsError::Mismatch`] at the first difference, of a name, a shape, a type or a bit; what is wrong with a file.
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

/// What holds written tensors to their sources.
struct TensorComparison<'a> {
    sources: TensorStream<'a>,
    memory: ReadBuffers,
    piece: Vec<u8>,
    rounding: Option<RoundingStats>,
}

impl TensorComparison<'_> {
    /// The first byte in which a tensor is not what its source becomes in its type.
    fn first_difference(
        &mut self,
        source: &StoredTensor,
        found: &StoredTensor,
    ) -> Result<Option<usize>, WeightsError> {
        let mut reader = found.open_in(std::mem::take(&mut self.memory))?;
        let mut at = 0;
        let mut difference = None;
        self.sources.pass(source, PIECE_BYTES, |values, expected| {
            let found_values = reader.next_piece(expected.len(), &mut self.piece)?;
            if difference.is_none() && found_values != expected {
                let place = found_values.iter().zip(expected).position(|(found, expected)| found != expected);
                difference = Some(at + place.unwrap_or_default());
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
