//! Conversion of values to another precision.

use ::half::slice::HalfFloatSliceExt;
use ::half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use serde::Serialize;

use crate::dtype::element_size;

/// Effect of a conversion on values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RoundingStats {
    /// Largest absolute difference between a finite value and its converted value.
    pub largest_error: f64,
    /// Number of finite values that became infinite.
    pub overflowed: u64,
}

/// Returns whether values of this type can be converted.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Number of values per parallel task.
const BLOCK: usize = 4096;

/// Converts values, rounded to nearest, ties to even, as PyTorch does. The same precision changes no bit.
pub(crate) fn convert(values: &[u8], from: Dtype, to: Dtype, out: &mut Vec<u8>) {
    out.clear();
    if from == to {
        out.extend_from_slice(values);
        return;
    }
    debug_assert!(is_float(from) && is_float(to));
    let (from_size, to_size) = (element_size(from), element_size(to));
    out.resize(values.len() / from_size * to_size, 0);
    let blocks = out.par_chunks_mut(to_size * BLOCK).zip(values.par_chunks(from_size * BLOCK));
    blocks.for_each_init(FloatBlock::default, |scratch, (out, values)| {
        scratch.fill(values, from);
        scratch.write(to, out);
    });
}

impl RoundingStats {
    /// Adds the effect on some values.
    pub(crate) fn add(&mut self, before: &[u8], from: Dtype, after: &[u8], to: Dtype) {
        let blocks =
            before.par_chunks(element_size(from) * BLOCK).zip(after.par_chunks(element_size(to) * BLOCK));
        let found = blocks.map_init(Default::default, |[a, b]: &mut [FloatBlock; 2], (before, after)| {
            a.fill(before, from);
            b.fill(after, to);
            let mut rounding = Self::default();
            for (&before, &after) in a.values.iter().zip(&b.values) {
                if before.is_finite() && !after.is_finite() {
                    rounding.overflowed += 1;
                } else if before.is_finite() {
                    let error = (f64::from(before) - f64::from(after)).abs();
                    rounding.largest_error = rounding.largest_error.max(error);
                }
            }
            rounding
        });
        *self = found.reduce(Self::default, Self::and).and(*self);
    }

    fn and(self, other: Self) -> Self {
        Self {
            largest_error: self.largest_error.max(other.largest_error),
            overflowed: self.overflowed + other.overflowed,
        }
    }
}

/// A block of values as float32, which represents all others exactly.
#[derive(Default)]
struct FloatBlock {
    values: Vec<f32>,
    halves: Vec<f16>,
}

impl FloatBlock {
    fn fill(&mut self, bytes: &[u8], dtype: Dtype) {
        self.values.clear();
        match dtype {
            Dtype::F16 => {
                self.halves.clear();
                self.halves.extend(bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes)));
                self.values.resize(self.halves.len(), 0.0);
                self.halves.convert_to_f32_slice(&mut self.values);
            }
            Dtype::BF16 => {
                let halves = bytes.as_chunks().0.iter();
                self.values
                    .extend(halves.map(|&bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)));
            }
            _ => self.values.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        }
    }

    fn write(&mut self, dtype: Dtype, out: &mut [u8]) {
        match dtype {
            Dtype::F16 => {
                self.halves.resize(self.values.len(), f16::ZERO);
                self.halves.convert_from_f32_slice(&self.values);
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(&self.halves).for_each(|(out, half)| *out = half.to_le_bytes());
            }
            Dtype::BF16 => {
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(&self.values).for_each(|(out, &value)| *out = bf16::from_f32(value).to_le_bytes());
            }
            _ => {
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(&self.values).for_each(|(out, value)| *out = value.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_and_kept_where_they_fit() {
        let values: Vec<f32> = vec![1.0, -0.0, 1.0 + 1.0 / 256.0, 1e-8, 65_520.0, f32::INFINITY, 0.1];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut out = Vec::new();
        convert(&bytes, Dtype::F32, Dtype::BF16, &mut out);
        // By torch: tensor.bfloat16().view(torch.int16).
        let expected: [u16; 7] = [0x3f80, 0x8000, 0x3f80, 0x322c, 0x4780, 0x7f80, 0x3dcd];
        assert_eq!(out, expected.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>());
        convert(&bytes, Dtype::F32, Dtype::F16, &mut out);
        let expected: [u16; 7] = [0x3c00, 0x8000, 0x3c04, 0x0000, 0x7c00, 0x7c00, 0x2e66];
        assert_eq!(out, expected.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>());
        let mut rounding = RoundingStats::default();
        rounding.add(&bytes, Dtype::F32, &out, Dtype::F16);
        assert_eq!(rounding.overflowed, 1);
        assert!((rounding.largest_error - 2.442e-5).abs() < 1e-7, "{rounding:?}");
    }
}
