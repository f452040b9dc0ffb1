//! Tensors in and out of a safetensors file one at a time: however many there are, one is on the host.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use burn::tensor::{DType, Tensor};
use fineline_model::{TensorHeader, write_safetensors};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

/// A float32 tensor on its way to a file, flat.
pub(crate) struct FlatTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Tensor<1>,
}

/// Writes tensors in the given order and waits for the disk. The same tensors give the same bytes.
pub(crate) fn write(path: &Path, tensors: &[FlatTensor]) -> io::Result<()> {
    let header = |tensor: &FlatTensor| TensorHeader {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: DType::F32,
    };
    let headers: Vec<TensorHeader> = tensors.iter().map(header).collect();
    let mut file = fs_err::File::create(path)?;
    write_safetensors(&mut file, &headers, tensors.iter().map(|tensor| tensor.values.to_data()))?;
    file.sync_all()
}

/// An open safetensors file of float32 tensors.
pub(crate) struct TensorFile {
    file: fs_err::File,
    metadata: Metadata,
    /// Where the data begins.
    start: u64,
}

impl TensorFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = fs_err::File::open(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let mut header = Vec::new();
        let read = (&mut file).take(length).read_to_end(&mut header)?;
        if read as u64 != length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} ends within its header", path.display()),
            ));
        }
        Ok(Self { file, metadata: serde_json::from_slice(&header)?, start: 8 + length })
    }

    /// The names of all tensors, and how many values each has. One that isn't float32 is left out.
    pub(crate) fn lens(&self) -> impl Iterator<Item = (String, usize)> {
        let float = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
            (info.dtype == Dtype::F32).then(|| (name, info.shape.iter().product()))
        };
        self.metadata.tensors().into_iter().filter_map(float)
    }

    /// Some of a tensor's values, in the order in which they lie.
    pub(crate) fn read_into(&mut self, name: &str, from: usize, values: &mut [f32]) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("no tensor {name}"));
        let (start, end) = self.metadata.info(name).ok_or_else(missing)?.data_offsets;
        if start + (from + values.len()) * size_of::<f32>() > end {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the tensor {name} is too short"),
            ));
        }
        self.file.seek(SeekFrom::Start(self.start + (start + from * size_of::<f32>()) as u64))?;
        self.file.read_exact(bytemuck::cast_slice_mut(values))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn tensors_come_back_to_the_bit() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tensors.safetensors");
        let device = Device::flex();
        let values = [f32::MIN_POSITIVE, -0.0, 1.0 / 3.0, f32::MAX, 1e-45, 7.0];
        let matrix =
            FlatTensor { name: "b".into(), shape: vec![2, 3], values: Tensor::from_data(values, &device) };
        let empty = FlatTensor { name: "a".into(), shape: vec![0], values: Tensor::zeros([0], &device) };
        write(&path, &[matrix, empty]).unwrap();

        let mut file = TensorFile::open(&path).unwrap();
        let mut lens: Vec<_> = file.lens().collect();
        lens.sort();
        assert_eq!(lens, [("a".to_owned(), 0), ("b".to_owned(), 6)]);
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
    fn what_is_no_safetensors_file_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tensors.safetensors");
        for bytes in [&b""[..], b"1234", b"\x04\0\0\0\0\0\0\0[1]", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"] {
            fs_err::write(&path, bytes).unwrap();
            assert!(TensorFile::open(&path).is_err());
        }
    }
}
