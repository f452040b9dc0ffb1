//! A run put together: its configuration, its folder, its logs, and what is called when.
//!
//! [`config::Resolved`] is a configuration with the origin of each value; [`prepare`] makes ready what it reads;
//! [`lifecycle::train`] runs it to its end, or goes on with it, in a [`RunDirectory`]. [`plan`], [`mod@bench`], [`verify`],
//! [`doctor`] and [`offline`] answer questions about a run without being one.
//!
//! What a caller sees while something takes long are [`Progress`] values; this crate prints nothing.
//!
//! Deliberately unknown here: the command line and the terminal. How a step, a row, a score or an interval comes about is the business
//! of the crates below.

pub mod bench;
mod cache_lock;
mod changes;
pub mod checkpoint;
mod chunks;
pub mod config;
pub mod device;
pub mod diff;
mod digest;
pub mod directory;
pub mod doctor;
mod error;
pub mod events;
pub mod faults;
mod heartbeat;
pub mod jsonl;
pub mod lifecycle;
mod logs;
pub mod metrics;
#[cfg_attr(not(feature = "storage"), path = "mirror/absent.rs")]
mod mirror;
mod observer;
pub mod offline;
pub mod plan;
pub mod prepare;
mod probe_schedule;
mod probing;
mod progress;
mod prometheus;
pub mod published;
pub mod released;
pub mod rewinds;
mod sharing;
mod start;
pub mod sweep;
mod tensorboard;
pub mod triggers;
mod validation;
pub mod verify;

pub use directory::RunDirectory;
pub use error::RunError;
pub use fineline_train::{StopSignal, TokenCount};
pub use progress::Progress;

/// What probes leave behind, for whoever shows it.
pub mod probe {
    pub use fineline_dynamics::{
        Estimate, PairedDifference, PublishedBand, SeriesPosition, benjamini_hochberg, is_above,
    };
    pub use fineline_probe::{Delta, HubSource, Kind, ProbeError, ProbeRecord, TaskSource, headline};
}
