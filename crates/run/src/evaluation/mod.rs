//! Validation and probes of a run while it trains.

// How much is asked.
mod probe_schedule;

// All ranks together.
pub(crate) mod measuring;

// What is asked.
pub(crate) mod probing;
pub(crate) mod validation;

// Who helps.
pub(crate) mod sharing;
