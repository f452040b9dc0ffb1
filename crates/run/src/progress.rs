//! Progress of long work, for the caller.

use std::path::Path;

use fineline_probe::ProbeRecord;

use crate::records::events::EventRecord;
use crate::records::metrics::MetricsRecord;

/// Progress of long work, for the caller.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RunProgress<'a> {
    /// Something is being prepared.
    Preparing(&'a str),
    /// Another process fills the data cache. Preparation continues when it is done.
    Waiting {
        /// Directory of the cache.
        cache: &'a Path,
        /// The other process, if it has written its number.
        process: Option<u32>,
    },
    /// Metrics are served for Prometheus.
    Serving {
        /// Address.
        address: std::net::SocketAddr,
    },
    /// Training starts or continues after `step` of `total_steps`.
    Training {
        /// Number of steps made so far.
        step: u64,
        /// Number of steps of the whole run.
        total_steps: u64,
        /// Number of parameters of the model.
        parameters: u64,
        /// Directory of the run.
        directory: &'a Path,
    },
    /// A step is complete.
    Step(&'a MetricsRecord),
    /// The evaluation of a suite starts.
    Evaluating {
        /// The suite.
        suite: &'a str,
        /// The step of the model.
        step: u64,
    },
    /// A round of validation or probes is complete.
    Evaluated(&'a [ProbeRecord]),
    /// An event was logged.
    Event(&'a EventRecord),
}
