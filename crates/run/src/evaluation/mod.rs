//! Validation and probes of a run while it trains.

// How many items a round may evaluate.
mod probe_schedule;

// One evaluation on all ranks.
mod evaluator;
pub(crate) mod validation;

// A round: validation and suites.
pub(crate) mod shared_evaluation;

// Which tables are due, and what their rounds cost.
pub(crate) mod probe_tables;
