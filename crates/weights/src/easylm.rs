//! EasyLM's checkpoints: a sequence of msgpack values, each with the path of a tensor and the tensor as
//! packed by `flax`.
//!
//! The format is that of EasyLM's `checkpoint.py` and flax's `serialization.py`: a value is `[path, bytes]`,
//! and the bytes are an extension of type 1 that contains `[shape, dtype, values]`. Matrices are `[in, out]`.
//! The rows of `wq` and `wk` that are rotated together are adjacent, as in Meta's files
//! (`convert_hf_to_easylm.py`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rmp::Marker;
use rmp::decode::{read_array_len, read_bin_len, read_ext_meta, read_int, read_str_len};
use rmp::encode::{write_array_len, write_bin_len, write_ext_meta, write_str, write_uint};
use safetensors::Dtype;

use crate::dtype::element_size;
use crate::error::WeightsError;
use crate::tensor::{IgnoredEntry, StoredTensor, ValueLocation, ValueOrder};

/// Name of a file of parameters.
pub const STREAM_FILE: &str = "streaming_params";
const TRAIN_STATE_FILE: &str = "streaming_train_state";
/// Suffix of published files: `open_llama_7b_easylm`.
const PUBLISHED: &str = "_easylm";

/// Type of arrays among flax's msgpack extensions.
const NDARRAY: i8 = 1;
/// Size limit of a msgpack value in EasyLM's reader (`max_buffer_size` of `msgpack.Unpacker`). flax itself
/// splits arrays above half of it.
const MAX_BYTES: u64 = (1 << 31) - 1;

/// Transformation of a tensor between the two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorTransform {
    /// No change.
    Identity,
    /// Transposition of a matrix.
    Transpose,
    /// Transposition, with the rows of heads interleaved.
    TransposeRotary,
}

/// Tensors of a layer: name in Hugging Face's layout, name in EasyLM, transformation.
const LAYER: [(&str, &str, TensorTransform); 9] = [
    ("self_attn.q_proj", "attention/wq", TensorTransform::TransposeRotary),
    ("self_attn.k_proj", "attention/wk", TensorTransform::TransposeRotary),
    ("self_attn.v_proj", "attention/wv", TensorTransform::Transpose),
    ("self_attn.o_proj", "attention/wo", TensorTransform::Transpose),
    ("mlp.gate_proj", "feed_forward/w1", TensorTransform::Transpose),
    ("mlp.down_proj", "feed_forward/w2", TensorTransform::Transpose),
    ("mlp.up_proj", "feed_forward/w3", TensorTransform::Transpose),
    ("input_layernorm", "attention_norm", TensorTransform::Identity),
    ("post_attention_layernorm", "ffn_norm", TensorTransform::Identity),
];
/// Other tensors, with their complete names.
const OTHERS: [(&str, &str, TensorTransform); 3] = [
    ("model.embed_tokens.weight", "transformer/wte/embedding", TensorTransform::Identity),
    ("model.norm.weight", "transformer/ln_f/kernel", TensorTransform::Identity),
    ("lm_head.weight", "lm_head/kernel", TensorTransform::Transpose),
];

/// Returns the name and transformation of an EasyLM tensor in Hugging Face's layout.
fn to_hugging_face(path: &str) -> Option<(String, TensorTransform)> {
    if let Some((name, _, transform)) = OTHERS.iter().find(|(_, other, _)| *other == path) {
        return Some(((*name).to_owned(), *transform));
    }
    let (layer, rest) = path.strip_prefix("transformer/h/")?.split_once('/')?;
    let layer: u32 = layer.parse().ok()?;
    let part = rest.strip_suffix("/kernel")?;
    let (name, _, transform) = LAYER.iter().find(|(_, other, _)| *other == part)?;
    Some((format!("model.layers.{layer}.{name}.weight"), *transform))
}

/// Returns the name and transformation of a Hugging Face tensor in EasyLM.
pub(crate) fn from_hugging_face(name: &str) -> Option<(String, TensorTransform)> {
    if let Some((_, path, transform)) = OTHERS.iter().find(|(other, _, _)| *other == name) {
        return Some(((*path).to_owned(), *transform));
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let part = rest.strip_suffix(".weight")?;
    let (_, path, transform) = LAYER.iter().find(|(other, _, _)| *other == part)?;
    Some((format!("transformer/h/{layer}/{path}/kernel"), *transform))
}

/// Types, by their names in NumPy.
const DTYPES: [(&str, Dtype); 12] = [
    ("float32", Dtype::F32),
    ("float16", Dtype::F16),
    ("bfloat16", Dtype::BF16),
    ("float64", Dtype::F64),
    ("int64", Dtype::I64),
    ("int32", Dtype::I32),
    ("int16", Dtype::I16),
    ("int8", Dtype::I8),
    ("uint32", Dtype::U32),
    ("uint16", Dtype::U16),
    ("uint8", Dtype::U8),
    ("bool", Dtype::BOOL),
];

/// Returns whether this is a name of EasyLM's files.
pub(crate) fn is_stream_name(name: &str) -> bool {
    let is =
        |known: &str| name == known || name.strip_prefix(known).is_some_and(|step| step.starts_with('_'));
    is(STREAM_FILE) || is(TRAIN_STATE_FILE) || name.ends_with(PUBLISHED)
}

/// Returns the tensors of a stream of parameters, or of a complete training state. The other parts of a
/// training state are added to `ignored`.
pub(crate) fn open(path: &Path, ignored: &mut Vec<IgnoredEntry>) -> Result<Vec<StoredTensor>, WeightsError> {
    let file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    let mut stream = EasyLmStream { path, length, file: BufReader::with_capacity(4096, file) };
    let mut tensors = Vec::new();
    let mut others: BTreeMap<String, u64> = BTreeMap::new();
    while stream.position()? < length {
        let (key, end) = stream.read_entry()?;
        match parameter(&key) {
            Some(parameter) => tensors.push(stream.read_tensor(&key, parameter, end)?),
            None => *others.entry(key.split('/').next().unwrap_or_default().to_owned()).or_default() += 1,
        }
        stream.skip_to(end)?;
    }
    let others = others.into_iter().map(|(name, count)| IgnoredEntry {
        name,
        reason: format!("{count} values of the training state that aren't parameters"),
    });
    ignored.extend(others);
    Ok(tensors)
}

/// Returns the part of a path after `params/params/` (in a training state) or `params/`, or the path itself
/// in a file of parameters.
fn parameter(key: &str) -> Option<&str> {
    let path = key.strip_prefix("params/").unwrap_or(key);
    let path = path.strip_prefix("params/").unwrap_or(path);
    (path.len() < key.len() || path.starts_with("transformer/") || path.starts_with("lm_head/"))
        .then_some(path)
}

struct EasyLmStream<'a> {
    path: &'a Path,
    length: u64,
    file: BufReader<fs_err::File>,
}

impl EasyLmStream<'_> {
    fn position(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }

    fn skip_to(&mut self, end: u64) -> io::Result<()> {
        let here = self.position()?;
        self.file.seek(SeekFrom::Current(end.cast_signed() - here.cast_signed())).map(drop)
    }

    fn malformed(&mut self, what: &str, error: impl Display) -> WeightsError {
        let at = self.position().unwrap_or_default();
        WeightsError::malformed(
            self.path,
            format!("not an EasyLM stream, or damaged: {what} near byte {at} ({error})"),
        )
    }

    /// Reads the path of the next tensor, and returns it with the end of its bytes, which start here.
    fn read_entry(&mut self) -> Result<(String, u64), WeightsError> {
        let parts = read_array_len(&mut self.file)
            .map_err(|error| self.malformed("expected [path, bytes]", error))?;
        if parts != 2 {
            return Err(self.malformed("expected [path, bytes]", format!("an array of {parts}")));
        }
        let depth =
            read_array_len(&mut self.file).map_err(|error| self.malformed("expected a path", error))?;
        if depth > 64 {
            return Err(self.malformed("expected a path", format!("an array of {depth}")));
        }
        let parts = (0..depth).map(|_| self.read_text()).collect::<Result<Vec<String>, _>>()?;
        let key = parts.join("/");
        let bytes = read_bin_len(&mut self.file)
            .map_err(|error| self.malformed(&format!("expected the bytes of `{key}`"), error))?;
        let end = self.position()? + u64::from(bytes);
        if end > self.length {
            let problem =
                format!("should have {bytes} bytes, but the file ends {} bytes earlier", end - self.length);
            return Err(WeightsError::tensor(self.path, &key, problem));
        }
        Ok((key, end))
    }

    fn read_text(&mut self) -> Result<String, WeightsError> {
        let length =
            read_str_len(&mut self.file).map_err(|error| self.malformed("expected a name", error))?;
        if length > 4096 {
            return Err(self.malformed("expected a name", format!("{length} bytes")));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes).map_err(|error| self.malformed("expected a name", error))?;
        String::from_utf8(bytes).map_err(|error| self.malformed("expected a name", error))
    }

    /// Reads the header of a packed array that ends at `end`.
    fn read_tensor(&mut self, key: &str, parameter: &str, end: u64) -> Result<StoredTensor, WeightsError> {
        let path = self.path;
        let wrong = |problem: String| WeightsError::tensor(path, key, problem);
        let is_map = self.file.fill_buf()?.first().is_some_and(|&byte| {
            matches!(Marker::from_u8(byte), Marker::FixMap(_) | Marker::Map16 | Marker::Map32)
        });
        if is_map {
            return Err(wrong(
                "is packed in chunks, as flax does for arrays above 1 GiB, which is not supported".to_owned(),
            ));
        }
        let not_packed = |error: &dyn Display| wrong(format!("is not an array packed by flax ({error})"));
        let meta = read_ext_meta(&mut self.file).map_err(|error| not_packed(&error))?;
        if meta.typeid != NDARRAY || self.position()? + u64::from(meta.size) != end {
            return Err(not_packed(&format!("an extension of type {}, {} bytes", meta.typeid, meta.size)));
        }
        let parts = read_array_len(&mut self.file).map_err(|error| not_packed(&error))?;
        let axes = read_array_len(&mut self.file).map_err(|error| not_packed(&error))?;
        if parts != 3 || axes > 8 {
            return Err(not_packed(&"expected [shape, dtype, values]"));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            shape.push(read_int::<usize, _>(&mut self.file).map_err(|error| not_packed(&error))?);
        }
        let dtype = self.read_text()?;
        let Some(&(_, dtype)) = DTYPES.iter().find(|(name, _)| *name == dtype) else {
            return Err(wrong(format!("has type {dtype}, which is not supported")));
        };
        let bytes = u64::from(read_bin_len(&mut self.file).map_err(|error| not_packed(&error))?);
        let start = self.position()?;
        let expected = shape.iter().try_fold(element_size(dtype), |bytes, &length| bytes.checked_mul(length));
        if start + bytes != end || expected != Some(bytes as usize) {
            return Err(wrong(format!(
                "of shape {shape:?} and type {dtype} has {bytes} bytes of values in a packed array of {} \
                 bytes",
                end - start
            )));
        }
        let (name, transform) =
            to_hugging_face(parameter).unwrap_or((key.to_owned(), TensorTransform::Identity));
        if transform != TensorTransform::Identity && shape.len() != 2 {
            return Err(wrong(format!("has shape {shape:?}, expected a matrix")));
        }
        let order = match transform {
            TensorTransform::Identity => ValueOrder::RowMajor,
            TensorTransform::Transpose => ValueOrder::Transposed,
            TensorTransform::TransposeRotary => ValueOrder::Rotary { head_size: None },
        };
        if transform != TensorTransform::Identity {
            shape.reverse();
        }
        let location = ValueLocation { bytes: start..end, order, storage: None };
        Ok(StoredTensor { name, key: key.to_owned(), shape, dtype, file: path.to_owned(), location })
    }
}

/// Writes everything that precedes the values of a tensor, whose shape is given in EasyLM's layout.
pub(crate) fn write_header(out: &mut impl Write, key: &str, shape: &[usize], dtype: Dtype) -> io::Result<()> {
    let values = shape.iter().product::<usize>() * element_size(dtype);
    let dtype = DTYPES.iter().find(|(_, other)| *other == dtype).map_or("void", |(name, _)| *name);
    let mut array = Vec::new();
    write_array_len(&mut array, 3)?;
    write_array_len(&mut array, shape.len() as u32)?;
    for &length in shape {
        write_uint(&mut array, length as u64)?;
    }
    write_str(&mut array, dtype)?;
    write_bin_len(&mut array, values as u32)?;
    let mut extension = Vec::new();
    write_ext_meta(&mut extension, (array.len() + values) as u32, NDARRAY)?;
    write_array_len(out, 2)?;
    let parts: Vec<&str> = key.split('/').collect();
    write_array_len(out, parts.len() as u32)?;
    for part in parts {
        write_str(out, part)?;
    }
    write_bin_len(out, (extension.len() + array.len() + values) as u32)?;
    out.write_all(&extension)?;
    out.write_all(&array)
}

/// Returns whether EasyLM's reader can read an array of this size.
pub(crate) fn fits(bytes: u64) -> bool {
    bytes < MAX_BYTES - 1024
}
