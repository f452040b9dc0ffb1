//! A run, from its start to its end.

// Options of the caller.
pub mod faults;
mod options;

// Where records go, and what rounds store.
mod round_store;
mod run_sinks;

// Between steps.
mod heartbeat;
mod observer;
mod observers;
pub mod rewinds;

// The start.
mod prepared_run;
mod started_run;

// From the start to the end.
mod dry_run;
mod train;

pub use dry_run::{DryRunReport, dry_run};
pub use options::TrainOptions;
pub use train::{RunOutcome, train};
