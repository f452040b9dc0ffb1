use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use fineline_model::{inspect as inspect_weights, read_config};
use fineline_run::checkpoint::find_checkpoint;
use serde_json::json;

use super::{grouped, print, print_json};

/// `fineline weights inspect`
pub(crate) fn inspect(checkpoint: &Path, as_json: bool) -> Result<()> {
    let checkpoint = &find_checkpoint(checkpoint)?;
    let config = read_config(checkpoint)?;
    let found = inspect_weights(checkpoint)?;
    let expected = config.parameter_count();
    if as_json {
        return print_json(
            &json!({ "config": config, "parameters": found.parameters, "expected_parameters": expected, "bytes": found.bytes, "tensors": found.tensors }),
        );
    }
    let mut text = String::new();
    let width = found.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    for tensor in &found.tensors {
        writeln!(text, "{:<width$}  {:<5}  {:?}", tensor.name, tensor.dtype, tensor.shape)?;
    }
    writeln!(
        text,
        "{} tensors, {} parameters, {} bytes; config.json makes {} parameters",
        found.tensors.len(),
        grouped(found.parameters),
        grouped(found.bytes),
        grouped(expected)
    )?;
    print(&text)
}
