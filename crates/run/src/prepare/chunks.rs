//! Chunks of data: the steps at which they end, and the names of their checkpoints.

use fineline_data::Dataset;
use fineline_layout::chunk_name;
use fineline_train::{CheckpointMilestones, RowSchedule};

use crate::config::{ConfigError, Resolved};

/// Returns the last step of each chunk with the name of its checkpoint, as Amber names them. Empty if the
/// data are a mixture. A chunk all of whose rows are skipped is omitted.
pub(crate) fn chunk_ends(dataset: &Dataset, rows: &RowSchedule) -> CheckpointMilestones {
    let end = |chunk: &fineline_data::Chunk| {
        let [start, end] = [chunk.rows.start, chunk.rows.end].map(|row| rows.steps_before(row));
        (start < end).then(|| (end, chunk_name(chunk.number)))
    };
    dataset.chunks().iter().filter_map(end).collect()
}

/// Refuses a run that continues after its last chunk.
pub(crate) fn check_steps(resolved: &Resolved, dataset: &Dataset) -> Result<(), ConfigError> {
    let config = &resolved.config;
    let rows = RowSchedule::without_skips(config.train.global_batch_size);
    let Some(last) = chunk_ends(dataset, &rows).into_keys().last() else { return Ok(()) };
    let Ok(steps) = config.train.total_steps(config.data.seq_len) else { return Ok(()) };
    if steps <= last {
        return Ok(());
    }
    let key = if config.train.tokens.is_some() { "train.tokens" } else { "train.steps" };
    let message = format!(
        "is {steps} steps, but the chunks have {last}: rows of a chunk that don't fill a batch are skipped"
    );
    Err(resolved.invalid(key, message))
}
