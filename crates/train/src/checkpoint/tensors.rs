//! Tensors in and out of a safetensors file one at a time: however many there are, one is on the host.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fineline_model::weights::{TensorHeader, write_safetensors};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

/// A float32 tensor on its way to a file, flat.
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Tensor<1>,
}

/// Writes tensors in the given order and waits for the disk. The same tensors give the same bytes.
pub(crate) fn write(path: &Path, tensors: &[Stored]) -> io::Result<()> {
    let header = |tensor: &Stored| TensorHeader {
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

    /// How many tensors there are.
    pub(crate) fn len(&self) -> usize {
        self.metadata.offset_keys().len()
    }

    /// One tensor, flat. `None` if there is none of this name, shape, and type.
    pub(crate) fn read(
        &mut self,
        name: &str,
        shape: &[usize],
        device: &Device,
    ) -> io::Result<Option<Tensor<1>>> {
        let Some(info) = self.metadata.info(name) else { return Ok(None) };
        if info.dtype != Dtype::F32 || info.shape != shape {
            return Ok(None);
        }
        let (start, end) = info.data_offsets;
        let mut values = vec![0.0_f32; (end - start) / size_of::<f32>()];
        self.file.seek(SeekFrom::Start(self.start + start as u64))?;
        self.file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
        let data = TensorData::new(values, [(end - start) / size_of::<f32>()]);
        Ok(Some(Tensor::from_data(data, device).without_autodiff()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_to_the_bit() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tensors.safetensors");
        let device = Device::flex();
        let values = [f32::MIN_POSITIVE, -0.0, 1.0 / 3.0, f32::MAX, 1e-45, 7.0];
        let matrix =
            Stored { name: "b".into(), shape: vec![2, 3], values: Tensor::from_data(values, &device) };
        let empty = Stored { name: "a".into(), shape: vec![0], values: Tensor::zeros([0], &device) };
        write(&path, &[matrix, empty]).unwrap();

        let mut file = TensorFile::open(&path).unwrap();
        assert_eq!(file.len(), 2);
        let read = file.read("b", &[2, 3], &device.clone().autodiff()).unwrap().unwrap();
        assert!(!read.is_autodiff());
        let bits: Vec<u32> = read.into_data().iter::<f32>().map(f32::to_bits).collect();
        assert_eq!(bits, values.map(f32::to_bits));
        assert!(file.read("b", &[3, 2], &device).unwrap().is_none());
        assert!(file.read("c", &[1], &device).unwrap().is_none());

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
