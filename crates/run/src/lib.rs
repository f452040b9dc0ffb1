//! A run put together: its configuration, its folder, its logs, and what is called when.
//!
//! [`config::Resolved`] is a configuration with the origin of each value; [`prepare`] makes ready what it reads;
//! [`lifecycle::train`] runs it to its end, or goes on with it, in a [`RunDirectory`]. [`tools`] answer questions about a run without
//! being one.
//!
//! What a caller sees while something takes long are [`RunProgress`] values; this crate prints nothing.
//!
//! Deliberately unknown here: the command line and the terminal. How a step, a row, a score or an interval comes about is the business
//! of the crates below.

// What a run is to do, and what can go wrong with it.
pub mod config;
mod error;

// Records: what a run's folder holds.
pub mod records;

// What a caller sees meanwhile, and how it ends that.
mod progress;
mod stop;

// The machine.
pub mod device;
mod ranks;

// What a run reads.
pub mod prepare;

// Checkpoints: found, named, written.
pub mod checkpoints;

// Where what a run sees goes.
mod sinks;

// Validation and probes, and what they set off.
mod evaluation;
pub mod triggers;

// Where training begins.
pub mod start;

// A run, from its beginning to its end.
pub mod lifecycle;

// What answers questions about a run without being one.
pub mod tools;

pub use error::RunError;
pub use fineline_layout::RunDirectory;
pub use fineline_train::{DistributedMode, StopSignal, TokenCount};
pub use progress::RunProgress;

/// What probes leave behind, for whoever shows it.
pub mod probe {
    pub use fineline_dynamics::{
        Estimate, PairedDifference, PublishedBand, SeriesPosition, benjamini_hochberg, is_above,
    };
    pub use fineline_probe::{
        Delta, HubSource, ProbeError, ProbeRecord, TaskKind, TaskSource, primary_metric,
    };
}
