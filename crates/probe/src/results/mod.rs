//! Results of tasks and groups, comparisons between rounds, the records of `probes.jsonl`, and files for
//! other tools.

// Results of a round.
pub(crate) mod task_result;

// Results of groups of tasks.
pub(crate) mod group_result;

// Comparisons between rounds.
pub(crate) mod comparison;

// Records in files.
pub(crate) mod lm_eval_json;
pub(crate) mod probe_record;
pub(crate) mod representation_store;

// Histories.
pub(crate) mod history;
pub(crate) mod representation_history;
