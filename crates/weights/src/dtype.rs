//! Sizes of value types.

use safetensors::Dtype;

/// Bytes of one value. Types of less than a byte, which no LLaMA is published in, count as one.
pub(crate) fn element_size(dtype: Dtype) -> usize {
    dtype.bitsize().div_ceil(8)
}
