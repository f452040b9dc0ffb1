//! Names of a checkpoint's files, and the form of those that are JSON.

use std::io;

use serde::Serialize;

pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const STATE: &str = "state.json";
/// Prefixes of the moments in `optimizer.safetensors`, before the name of their parameter: `torch`'s names for them.
pub(crate) const EXP_AVG: &str = "exp_avg.";
pub(crate) const EXP_AVG_SQ: &str = "exp_avg_sq.";

pub(crate) fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
