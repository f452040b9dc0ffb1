//! Chunks of data in a run: where they end, and what their checkpoints are called.

use fineline_data::Dataset;
use fineline_train::{Detours, Milestones};

use crate::config::{ConfigError, Resolved, RunConfig};

/// The last step of each chunk, with the name of its checkpoint, as Amber's are called; none where the data are a mixture, and none of a chunk
/// all of whose rows are left out.
pub(crate) fn chunk_ends(config: &RunConfig, dataset: &Dataset, detours: &Detours) -> Milestones {
    let batch = config.train.global_batch_size as u64;
    let end = |chunk: &fineline_data::Chunk| {
        let [start, end] = [chunk.rows.start, chunk.rows.end].map(|row| detours.steps_until(row, batch));
        (start < end).then(|| (end, format!("ckpt_{:03}", chunk.number)))
    };
    dataset.chunks().iter().filter_map(end).collect()
}

/// Refuses a run that goes on when its chunks are at an end.
pub(crate) fn check_steps(resolved: &Resolved, dataset: &Dataset) -> Result<(), ConfigError> {
    let config = &resolved.config;
    let Some(last) = chunk_ends(config, dataset, &Detours::default()).into_keys().last() else {
        return Ok(());
    };
    let Ok(steps) = config.train.total_steps(config.data.seq_len) else { return Ok(()) };
    if steps <= last {
        return Ok(());
    }
    let key = if config.train.tokens.is_some() { "train.tokens" } else { "train.steps" };
    let message = format!(
        "makes a run of {steps} steps, but the chunks have {last}: the rest of each that fills no batch is left out"
    );
    Err(resolved.invalid(key, message))
}
