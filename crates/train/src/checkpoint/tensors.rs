//! Tensors in safetensors files, read and written one at a time, so that only one is in host memory.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use burn::tensor::{DType, Tensor};
use fineline_model::{TensorHeader, write_safetensors};
use fineline_weights::safetensors::{TensorEntry, read_header};
use fineline_weights::{Dtype, WeightsError};

/// A float32 tensor to be written to a file, flat.
pub(crate) struct FlatTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Tensor<1>,
}

/// Writes tensors in the given order and syncs the file to disk. The same tensors give the same bytes.
pub(crate) fn write_tensors(path: &Path, tensors: &[FlatTensor]) -> io::Result<()> {
    let to_header = |tensor: &FlatTensor| TensorHeader {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: DType::F32,
    };
    let headers: Vec<TensorHeader> = tensors.iter().map(to_header).collect();
    let mut file = fs_err::File::create(path)?;
    write_safetensors(&mut file, &headers, tensors.iter().map(|tensor| tensor.values.to_data()))?;
    file.sync_all()
}

/// An open safetensors file, of which the float32 tensors are read.
pub(crate) struct TensorFile {
    file: fs_err::File,
    /// Sorted by name.
    tensors: Vec<TensorEntry>,
}

impl TensorFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut tensors = read_header(path)?;
        tensors.retain(|tensor| tensor.description.dtype == Dtype::F32);
        Ok(Self { file: fs_err::File::open(path)?, tensors })
    }

    /// Returns the names of all float32 tensors, and their numbers of values.
    pub(crate) fn lens(&self) -> impl Iterator<Item = (&str, usize)> {
        let descriptions = self.tensors.iter().map(|tensor| &tensor.description);
        descriptions.map(|tensor| (tensor.name.as_str(), tensor.shape.iter().product()))
    }

    /// Reads the values of a tensor from the offset `from` on, in their order in the file.
    pub(crate) fn read_into(&mut self, name: &str, from: usize, values: &mut [f32]) -> io::Result<()> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let index = self.tensors.binary_search_by(|tensor| tensor.description.name.as_str().cmp(name));
        let index = index.map_err(|_| invalid(format!("no tensor {name}")))?;
        let range = &self.tensors[index].file_range;
        let start = range.start + (from * size_of::<f32>()) as u64;
        if start + size_of_val(values) as u64 > range.end {
            return Err(invalid(format!("the tensor {name} is too short")));
        }
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(bytemuck::cast_slice_mut(values))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn tensors_round_trip_bit_for_bit() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tensors.safetensors");
        let device = Device::flex();
        let values = [f32::MIN_POSITIVE, -0.0, 1.0 / 3.0, f32::MAX, 1e-45, 7.0];
        let matrix =
            FlatTensor { name: "b".into(), shape: vec![2, 3], values: Tensor::from_data(values, &device) };
        let empty = FlatTensor { name: "a".into(), shape: vec![0], values: Tensor::zeros([0], &device) };
        write_tensors(&path, &[matrix, empty]).unwrap();

        let mut file = TensorFile::open(&path).unwrap();
        assert_eq!(file.lens().collect::<Vec<_>>(), [("a", 0), ("b", 6)]);
        let mut read = [0.0; 4];
        file.read_into("b", 1, &mut read).unwrap();
        assert_eq!(read.map(f32::to_bits), [values[1], values[2], values[3], values[4]].map(f32::to_bits));
        assert!(file.read_into("b", 3, &mut read).unwrap_err().to_string().contains("too short"));
        assert!(file.read_into("c", 0, &mut read).is_err());

        let bytes = fs_err::read(&path).unwrap();
        let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(parsed.tensor("b").unwrap().shape(), [2, 3]);
    }

    #[test]
    fn an_invalid_safetensors_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tensors.safetensors");
        for bytes in [&b""[..], b"1234", b"\x04\0\0\0\0\0\0\0[1]", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"] {
            fs_err::write(&path, bytes).unwrap();
            assert!(TensorFile::open(&path).is_err());
        }
    }
}
