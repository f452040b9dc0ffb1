//! Results: those of groups, comparisons between rounds, the lines of `probes.jsonl`, and files for other tools.

pub(crate) mod comparison;
pub(crate) mod group_result;
pub(crate) mod history;
pub(crate) mod lm_eval_json;
pub(crate) mod representation_history;
pub(crate) mod representation_store;
