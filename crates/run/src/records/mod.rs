//! Records of a run: the files of its directory, and the lines of its logs.

// Files of one JSON object per line.
pub mod jsonl;

// Lines of logs.
pub(crate) mod digests;
pub mod metrics;
pub(crate) mod trigger_evidence;

// Identity of the run.
pub mod identity;

// Events.
mod event_text;
pub mod events;

// The lock.
pub mod lock;
