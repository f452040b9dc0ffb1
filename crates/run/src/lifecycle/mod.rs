//! A run from its beginning, or from where it stopped, to its end.

// What the caller decides.
pub mod faults;
mod options;

// Where records go, and what rounds leave behind.
mod round_store;
mod run_sinks;

// What happens between steps.
mod heartbeat;
mod observer;
mod observers;
pub mod rewinds;

// The beginning.
mod prepared_run;
mod started_run;

// From the beginning to the end.
mod dry_run;
mod train;

pub use dry_run::{DryRunReport, dry_run};
pub use options::TrainOptions;
pub use train::{RunOutcome, train};
