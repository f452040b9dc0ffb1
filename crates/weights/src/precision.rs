//! Values in another precision.

use ::half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use serde::Serialize;

use crate::tensor::element_size;

/// What another precision did to values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rounding {
    /// The largest distance of a finite value from what became of it.
    pub largest_error: f64,
    /// Finite values that became infinite.
    pub overflowed: u64,
}

/// Whether values of this type can be given another precision.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Values in another precision, rounded to the nearest, ties to even, as PyTorch does. The same precision changes no bit.
pub(crate) fn convert(values: &[u8], from: Dtype, to: Dtype, out: &mut Vec<u8>) {
    out.clear();
    if from == to {
        out.extend_from_slice(values);
        return;
    }
    debug_assert!(is_float(from) && is_float(to));
    let (from_size, to_size) = (element_size(from), element_size(to));
    out.resize(values.len() / from_size * to_size, 0);
    let tasks = out.par_chunks_mut(to_size << 15).zip(values.par_chunks(from_size << 15));
    tasks.for_each(|(out, values)| {
        for (out, value) in out.chunks_exact_mut(to_size).zip(values.chunks_exact(from_size)) {
            let value = to_f32(value, from);
            match to {
                Dtype::F16 => out.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
                Dtype::BF16 => out.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
                _ => out.copy_from_slice(&value.to_le_bytes()),
            }
        }
    });
}

impl Rounding {
    /// Adds what became of some values.
    pub(crate) fn add(&mut self, before: &[u8], from: Dtype, after: &[u8], to: Dtype) {
        let pairs = before.chunks_exact(element_size(from)).zip(after.chunks_exact(element_size(to)));
        for (before, after) in pairs {
            let (before, after) = (to_f32(before, from), to_f32(after, to));
            if before.is_finite() && !after.is_finite() {
                self.overflowed += 1;
            } else if before.is_finite() {
                self.largest_error = self.largest_error.max((f64::from(before) - f64::from(after)).abs());
            }
        }
    }
}

fn to_f32(bytes: &[u8], dtype: Dtype) -> f32 {
    match (dtype, bytes) {
        (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Dtype::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_and_kept_where_they_fit() {
        let values: Vec<f32> = vec![1.0, -0.0, 1.003_906_25, 1e-8, 65_520.0, f32::INFINITY, 0.1];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut out = Vec::new();
        convert(&bytes, Dtype::F32, Dtype::BF16, &mut out);
        // By torch: tensor.bfloat16().view(torch.int16).
        let expected: [u16; 7] = [0x3f80, 0x8000, 0x3f80, 0x322c, 0x4780, 0x7f80, 0x3dcd];
        assert_eq!(out, expected.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>());
        convert(&bytes, Dtype::F32, Dtype::F16, &mut out);
        let expected: [u16; 7] = [0x3c00, 0x8000, 0x3c04, 0x0000, 0x7c00, 0x7c00, 0x2e66];
        assert_eq!(out, expected.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>());
        let mut rounding = Rounding::default();
        rounding.add(&bytes, Dtype::F32, &out, Dtype::F16);
        assert_eq!(rounding.overflowed, 1);
        assert!((rounding.largest_error - 2.442e-5).abs() < 1e-7, "{rounding:?}");
    }
}
