//! The part of the configuration that determines a training step.

use fineline_train::TrainingRecipe;

use super::run_config::RunConfig;

/// Returns the part of the configuration that determines a training step.
pub(crate) fn recipe(config: &RunConfig) -> TrainingRecipe {
    TrainingRecipe {
        optim: config.optim.clone(),
        schedule: config.schedule.clone(),
        train: config.train.clone(),
        guard: config.guard.clone(),
        seq_len: config.data.seq_len,
        document_mask: config.data.document_mask,
        frozen_row: config.model.pad_token_id,
        rewarm: None,
        precision: config.run.precision,
    }
}
