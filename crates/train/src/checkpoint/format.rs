//! Names of a checkpoint's files and tensors, and the format of its JSON files.

use std::io;

use serde::Serialize;

/// Prefix of the running mean of the gradient in `optimizer.safetensors`, before the name of the parameter.
/// The name is that of `torch`.
pub(crate) const EXP_AVG: &str = "exp_avg.";
/// Prefix of the running mean of the squared gradient.
pub(crate) const EXP_AVG_SQ: &str = "exp_avg_sq.";

/// Serializes a value as indented JSON with a final newline.
pub(crate) fn to_pretty_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
