//! What a caller of something long sees of it.

use std::path::Path;

use fineline_probe::ProbeRecord;

use crate::records::events::EventRecord;
use crate::records::metrics::MetricsRecord;

/// What a caller of something long sees of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RunProgress<'a> {
    /// Something is being made ready.
    Preparing(&'a str),
    /// Another process fills the data cache: preparing goes on when it is done.
    Waiting {
        /// The cache's folder.
        cache: &'a Path,
        /// The number of the other process, if it has written it down.
        process: Option<u32>,
    },
    /// Metrics are served for Prometheus.
    Serving {
        /// Where.
        address: std::net::SocketAddr,
    },
    /// Training begins, or goes on, after `step` of `total_steps`.
    Training {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        total_steps: u64,
        /// Parameters of the model.
        parameters: u64,
        /// The run's folder.
        directory: &'a Path,
    },
    /// A step is done.
    Step(&'a MetricsRecord),
    /// A round of probes begins.
    Evaluating {
        /// The suite.
        suite: &'a str,
        /// The step that it looks at.
        step: u64,
    },
    /// A round of probes, or of validation, is done.
    Evaluated(&'a [ProbeRecord]),
    /// Something happened.
    Event(&'a EventRecord),
}
