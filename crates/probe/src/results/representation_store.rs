//! Stored representations: similarities as Parquet, for analysis, and Gram matrices as safetensors, for later
//! comparisons.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fineline_dynamics::Estimate;
use fineline_files::{AtomicFile, create_parent_directory, write_atomically};
use fs_err as fs;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::ProbeError;
use crate::parquet_columns::write_column;
use crate::scorers::representation::gram::GramMatrix;
use crate::scorers::representation::hidden_states::Representation;

/// Similarity of two depths.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarityRow {
    /// The task whose texts are represented.
    pub task: Arc<str>,
    /// Number of steps before the round.
    pub step: u64,
    /// Step of the round of the second depth: this round or an earlier one.
    pub other_step: u64,
    /// The first depth: 0 is after the embedding, `k` after layer `k`, the last one after the final norm.
    pub layer_a: u32,
    /// The second depth.
    pub layer_b: u32,
    /// Debiased linear CKA, with its error over texts.
    pub cka: Estimate,
    /// Mean squared canonical correlation of the leading principal components.
    pub cca: Option<f64>,
}

const SCHEMA: &str = "
    message similarities {
        REQUIRED BYTE_ARRAY task (STRING);
        REQUIRED INT64 step (UINT_64);
        REQUIRED INT32 layer_a (UINT_32);
        REQUIRED INT32 layer_b (UINT_32);
        REQUIRED INT64 other_step (UINT_64);
        OPTIONAL DOUBLE cka;
        OPTIONAL DOUBLE cka_stderr;
        OPTIONAL DOUBLE cca;
    }";

/// Writes `rows` to `path` atomically. Creates missing directories.
///
/// # Errors
/// [`ProbeError::Io`] if the file can't be written, [`ProbeError::Representations`] if Parquet refuses the
/// rows.
pub fn write_similarities(path: &Path, rows: &[SimilarityRow]) -> Result<(), ProbeError> {
    create_parent_directory(path)?;
    let mut file = AtomicFile::create(path)?;
    write_parquet(&mut file, rows).map_err(|error| failed(path, &error))?;
    Ok(file.commit()?)
}

fn write_parquet(file: &mut AtomicFile, rows: &[SimilarityRow]) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    write_column::<ByteArrayType, _>(&mut group, rows, |row| {
        Some(ByteArray::from(row.task.as_bytes().to_vec()))
    })?;
    write_column::<Int64Type, _>(&mut group, rows, |row| Some(row.step.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.layer_a.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.layer_b.cast_signed()))?;
    write_column::<Int64Type, _>(&mut group, rows, |row| Some(row.other_step.cast_signed()))?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.cka.value)?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.cka.stderr)?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.cca)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// The data of a tensor.
struct TensorBytes {
    dtype: Dtype,
    len: usize,
    bytes: Vec<u8>,
}

impl TensorBytes {
    fn integers(values: impl Iterator<Item = i64>) -> Self {
        let bytes: Vec<u8> = values.flat_map(i64::to_le_bytes).collect();
        Self { dtype: Dtype::I64, len: bytes.len() / size_of::<i64>(), bytes }
    }

    fn floats(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, len: values.len(), bytes }
    }
}

/// Value for texts without a cluster.
const NO_CLUSTER: i64 = -1;

/// Writes the representations of tasks to `path` atomically: for each task `TASK/items`, `TASK/clusters` (−1:
/// none), and `TASK/layer.000` and so on, the upper triangles of the Gram matrices, row by row.
///
/// # Errors
/// [`ProbeError::Io`] if the file can't be written, [`ProbeError::Representations`] if the tensors can't be
/// serialized.
pub fn write_representations(path: &Path, of_tasks: &[(&str, &Representation)]) -> Result<(), ProbeError> {
    create_parent_directory(path)?;
    let mut stored = BTreeMap::new();
    for (task, Representation { items, clusters, layers }) in of_tasks {
        let clusters = clusters.iter().map(|cluster| cluster.map_or(NO_CLUSTER, i64::from));
        stored.insert(format!("{task}/items"), TensorBytes::integers(items.iter().copied().map(i64::from)));
        stored.insert(format!("{task}/clusters"), TensorBytes::integers(clusters));
        for (depth, gram) in layers.iter().enumerate() {
            stored.insert(format!("{task}/layer.{depth:03}"), TensorBytes::floats(gram.upper()));
        }
    }
    let views = stored.iter().map(|(name, TensorBytes { dtype, len, bytes })| {
        TensorView::new(*dtype, vec![*len], bytes).map(|view| (name, view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|error| failed(path, &error))?;
    let bytes = safetensors::serialize(views, None).map_err(|error| failed(path, &error))?;
    Ok(write_atomically(path, &bytes)?)
}

/// Reads the representations that [`write_representations`] wrote, by task.
///
/// # Errors
/// [`ProbeError::Io`] if the file can't be read, [`ProbeError::Representations`] if it doesn't contain such
/// tensors.
pub fn read_representations(path: &Path) -> Result<BTreeMap<String, Representation>, ProbeError> {
    let bytes = fs::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| failed(path, &error))?;
    let mut of_tasks: BTreeMap<String, Representation> = BTreeMap::new();
    let mut names = tensors.names();
    // Sorted by name, because the file is not. `TASK/items` gives the number of texts.
    names.sort_unstable();
    for name in names.into_iter().filter(|name| name.ends_with("/items")) {
        let task = name.strip_suffix("/items").unwrap_or(name);
        let representation = read_task(&tensors, task)
            .ok_or_else(|| failed(path, &format!("the tensors of `{task}` are not a representation")))?;
        of_tasks.insert(task.to_owned(), representation);
    }
    Ok(of_tasks)
}

fn read_task(tensors: &SafeTensors<'_>, task: &str) -> Option<Representation> {
    let integers = |name: &str| -> Option<Vec<i64>> {
        let view = tensors.tensor(&format!("{task}/{name}")).ok()?;
        let values = view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        (view.dtype() == Dtype::I64).then_some(values)
    };
    let items: Vec<u32> = integers("items")?.into_iter().map(u32::try_from).collect::<Result<_, _>>().ok()?;
    let clusters: Vec<Option<u32>> =
        integers("clusters")?.into_iter().map(|cluster| u32::try_from(cluster).ok()).collect();
    if clusters.len() != items.len() {
        return None;
    }
    let mut layers = Vec::new();
    while let Ok(view) = tensors.tensor(&format!("{task}/layer.{:03}", layers.len())) {
        let floats = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let is_gram = view.dtype() == Dtype::F32;
        layers.push(GramMatrix::from_upper(items.len(), floats).filter(|_| is_gram)?);
    }
    Some(Representation { items, clusters, layers })
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> ProbeError {
    ProbeError::Representations { path: path.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn representations_read_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("representations/step-00000001.safetensors");
        let gram = |seed: f32| GramMatrix::of(&[seed, 1.0, 0.3, -2.0, 0.0, 1.5], 3);
        let one = Representation {
            items: vec![3, 5, u32::MAX],
            clusters: vec![None, Some(0), Some(7)],
            layers: (0..11).map(|depth| gram(depth as f32)).collect(),
        };
        let two = Representation { layers: vec![gram(9.0)], ..one.clone() };
        write_representations(&path, &[("a/b", &one), ("c", &two)]).unwrap();
        let expected = BTreeMap::from([("a/b".to_owned(), one.clone()), ("c".to_owned(), two)]);
        assert_eq!(read_representations(&path).unwrap(), expected);
        let bytes = fs::read(&path).unwrap();
        write_representations(&path, &[("c", &expected["c"]), ("a/b", &one)]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_store_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("step.safetensors");
        fs::write(&path, "nothing").unwrap();
        assert!(read_representations(&path).unwrap_err().to_string().contains("step.safetensors"));
        let short = Representation {
            items: vec![0, 1, 2, 3],
            clusters: vec![None; 4],
            layers: vec![GramMatrix::of(&[1.0, 2.0, 4.0], 3)],
        };
        write_representations(&path, &[("t", &short)]).unwrap();
        let error = read_representations(&path).unwrap_err().to_string();
        assert!(error.contains("the tensors of `t`"), "{error}");
    }
}
