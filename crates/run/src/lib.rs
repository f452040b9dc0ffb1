//! A run: its configuration, its directory, its logs, and the order in which everything is called.
//!
//! [`config::Resolved`] is a configuration with the origin of each value. [`prepare`] prepares the data and
//! the suites, [`lifecycle::train`] starts or resumes a run in a [`RunDirectory`] and trains to its end.
//! [`tools`] analyze runs and machines without being a run.
//!
//! Callers get [`RunProgress`] values during long work. This crate prints nothing.
//!
//! This crate doesn't depend on the command line or the terminal. Steps, rows, scores and intervals are
//! computed by the crates below.

// Configuration, and errors.
pub mod config;
mod error;

// Records: the contents of a run's directory.
pub mod records;

// Progress for the caller, and its requests to stop.
mod progress;
mod stop;

// The machine: devices, ranks, threads.
pub mod device;
mod ranks;

// Inputs: text, tokenizer, rows, suites.
pub mod prepare;

// Checkpoints.
pub mod checkpoints;

// Outputs: logs, TensorBoard, Prometheus, remote storage.
mod sinks;

// Validation, probes, and triggers on their results.
mod evaluation;
pub mod triggers;

// The state that training starts from.
pub mod start;

// A run, from its start to its end.
pub mod lifecycle;

// Tools that analyze runs.
pub mod tools;

pub use error::RunError;
pub use fineline_layout::RunDirectory;
pub use fineline_train::{DistributedMode, StopSignal, TokenCount};
pub use progress::RunProgress;

/// Types of probe results, for callers that show them.
pub mod probe {
    pub use fineline_dynamics::{
        Estimate, PairedDifference, PublishedBand, SeriesPosition, benjamini_hochberg, is_above,
    };
    pub use fineline_probe::{
        Delta, HubSource, ProbeError, ProbeRecord, TaskKind, TaskSource, primary_metric,
    };
}
