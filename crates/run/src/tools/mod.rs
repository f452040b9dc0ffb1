//! What answers questions about a run without being one.

// Without a model.
pub mod diff;
pub mod doctor;
pub mod plan;
pub mod published;

// With one.
pub mod bench;
pub mod offline_probe;
pub mod sweep;
pub mod verify;
