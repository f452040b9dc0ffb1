//! Tools that analyze runs, checkpoints and machines.

// Without a model.
pub mod diff;
pub mod doctor;
pub mod plan;
pub mod published;

// With a model.
pub mod bench;
pub mod offline_probe;
pub mod sweep;
pub mod verify;
