//! The checkpointer of a run, and the checkpoints that it keeps permanently.

use fineline_layout::{RunDirectory, kept_name};
use fineline_model::SpecialTokens;
use fineline_ranks::Ranks;
use fineline_train::{CheckpointDirectory, CheckpointMilestones, CheckpointSchedule, Checkpointer, Trainer};

use super::companions::companion_files;

use crate::config::{RunConfig, TriggerAction};
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::prepare::chunks::chunk_ends;
use crate::records::events::{Event, EventRecord};
use crate::records::jsonl::read_lines;

/// Creates the checkpointer of a run at the step of `trainer`.
pub(crate) fn checkpointer(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    trainer: &Trainer,
    ranks: &dyn Ranks,
) -> Result<Checkpointer, RunError> {
    let tokenizer = &prepared.tokenizer;
    let identity = fineline_train::CheckpointIdentity {
        seed: config.run.seed,
        config_hash: config.hash(),
        data_fingerprint: prepared.dataset.fingerprint().to_owned(),
        special_tokens: SpecialTokens {
            bos: tokenizer.bos_id(),
            eos: tokenizer.eos_id(),
            pad: config.model.pad_token_id.map(|id| id as u32),
        },
        files: companion_files(config, tokenizer)?,
    };
    let dir = CheckpointDirectory::new(directory.checkpoints());
    let cadence = CheckpointSchedule {
        config: config.checkpoint.clone(),
        milestones: milestones(config, directory, prepared, trainer)?,
    };
    Ok(Checkpointer::open(dir, cadence, identity, trainer.progress().step, ranks)?)
}

/// Returns the milestones, which are kept permanently: checkpoints at ends of chunks, and those kept by
/// triggers.
pub(crate) fn milestones(
    config: &RunConfig,
    directory: &RunDirectory,
    prepared: &Prepared,
    trainer: &Trainer,
) -> Result<CheckpointMilestones, RunError> {
    let mut milestones = CheckpointMilestones::new();
    if config.checkpoint.every_chunk {
        milestones = chunk_ends(&prepared.dataset, trainer.rows());
    }
    let events: Vec<EventRecord> = read_lines(&directory.events())?;
    for step in kept_steps(&events).filter(|step| *step <= trainer.progress().step) {
        milestones.entry(step).or_insert_with(|| kept_name(step));
    }
    Ok(milestones)
}

/// Returns the steps whose checkpoints triggers keep.
fn kept_steps(events: &[EventRecord]) -> impl Iterator<Item = u64> + '_ {
    events.iter().filter_map(|record| match &record.event {
        Event::Triggered { actions, dry_run: false, .. } => {
            let keeps =
                |action: &TriggerAction| matches!(action, TriggerAction::Keep | TriggerAction::Branch);
            actions.iter().any(keeps).then_some(record.step)
        }
        _ => None,
    })
}
