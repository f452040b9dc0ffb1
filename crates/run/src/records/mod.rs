//! Records of a run: what its folder holds, and each line of its logs.

// Files of one JSON object per line.
pub mod jsonl;

// Lines of logs.
pub(crate) mod digests;
pub mod metrics;
pub(crate) mod trigger_evidence;

// What the run is.
pub mod identity;

// What happened.
mod event_text;
pub mod events;

// The right to write any of it.
pub mod lock;
