//! Stored results of evaluation rounds, with which later rounds are compared: item scores, representations,
//! phases.

use std::collections::BTreeMap;
use std::path::Path;

use fineline_dynamics::Phase;
use fineline_layout::RunDirectory;
use fineline_probe::{
    EvaluationHistory, ItemRow, ProbeError, ProbeRecord, RepresentationHistory, SimilarityRow, TaskGroup,
    TaskResult, read_items, read_representations, write_items, write_representations, write_similarities,
};
use fineline_train::StepView;

use crate::error::RunError;
use crate::records::events::Event;

/// Stores the results of rounds, and computes records from them and from the results of earlier rounds.
pub(super) struct RoundStore<'a> {
    directory: &'a RunDirectory,
    history: EvaluationHistory,
    representations: RepresentationHistory,
    /// Phase of each task in its last round.
    phases: BTreeMap<String, Phase>,
}

impl<'a> RoundStore<'a> {
    /// The store of a run whose probe log has these records.
    ///
    /// # Errors
    /// A stored round that can't be read.
    pub(super) fn resume(directory: &'a RunDirectory, records: &[ProbeRecord]) -> Result<Self, RunError> {
        let items_at = |step| read_if_exists(&directory.items(step), read_items);
        let representations_at =
            |step| read_if_exists(&directory.representations(step), read_representations);
        Ok(Self {
            directory,
            history: EvaluationHistory::resume(records, items_at)?,
            representations: RepresentationHistory::resume(records, representations_at)?,
            phases: records.iter().filter_map(|record| Some((record.task.clone(), record.phase?))).collect(),
        })
    }

    /// Writes the item scores and representations that results are computed from.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn store(&mut self, step: u64, results: &mut [TaskResult]) -> Result<(), ProbeError> {
        let items: Vec<ItemRow> = results.iter().flat_map(|result| result.items.iter().cloned()).collect();
        write_items(&self.directory.items(step), &items)?;
        self.compare_representations(step, results)
    }

    /// Compares representations with those of earlier rounds, and stores them for later ones.
    fn compare_representations(&mut self, step: u64, results: &mut [TaskResult]) -> Result<(), ProbeError> {
        let rows: Vec<SimilarityRow> =
            results.iter_mut().flat_map(|result| self.representations.compare(step, result)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let of_tasks: Vec<_> = results
            .iter()
            .filter_map(|result| Some((result.task.as_str(), result.representation.as_ref()?)))
            .collect();
        write_similarities(&self.directory.similarities(step), &rows)?;
        write_representations(&self.directory.representations(step), &of_tasks)
    }

    /// Computes the records of a round, and adds it to the history.
    pub(super) fn records(
        &mut self,
        view: &StepView<'_>,
        results: &[TaskResult],
        groups: &[TaskGroup],
    ) -> Vec<ProbeRecord> {
        self.history.record_round(view.step, view.tokens, results, groups)
    }

    /// Returns the phase of a task in its last round.
    pub(super) fn phase(&self, task: &str) -> Option<Phase> {
        self.phases.get(task).copied()
    }

    /// Takes over the phases of a round. Returns an event for each task whose phase has changed.
    pub(super) fn update_phases(&mut self, records: &[ProbeRecord]) -> Vec<Event> {
        let mut events = Vec::new();
        for record in records {
            let Some(after) = record.phase else { continue };
            let before = self.phases.insert(record.task.clone(), after);
            if let Some(before) = before.filter(|before| *before != after) {
                let (before, after) = (before.to_string(), after.to_string());
                events.push(Event::PhaseChanged { task: record.task.clone(), before, after });
            }
        }
        events
    }
}

/// Reads the file of an earlier round. If the file was removed, returns the default, and changes since that
/// round are unknown.
fn read_if_exists<T: Default>(
    path: &Path,
    read: impl Fn(&Path) -> Result<T, ProbeError>,
) -> Result<T, RunError> {
    if path.exists() {
        return Ok(read(path)?);
    }
    tracing::warn!("{} is missing: changes since that round can't be computed", path.display());
    Ok(T::default())
}
