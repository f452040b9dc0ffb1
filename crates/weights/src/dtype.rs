//! Sizes of value types.

use safetensors::Dtype;

/// Returns the size of a value in bytes. Types of less than a byte count as one byte. No LLaMA is published
/// in such a type.
pub(crate) fn element_size(dtype: Dtype) -> usize {
    dtype.bitsize().div_ceil(8)
}
