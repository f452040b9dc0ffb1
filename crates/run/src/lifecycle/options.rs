//! Options of `train`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fineline_train::StopSignal;

use super::faults::Faults;

use crate::start::{FetchedWeights, ResumeRequest};
use crate::triggers::Notify;

/// Options of [`train`](super::train).
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// State to start from.
    pub resume: ResumeRequest,
    /// Keys that may differ from the configuration of the last start.
    pub allow_changes: Vec<String>,
    /// The downloaded model, if `init.from` names one of the hub. The caller finds it, because this crate
    /// doesn't depend on the hub.
    pub fetched: Option<FetchedWeights>,
    /// Signal by which the caller requests a stop.
    pub stop: StopSignal,
    /// Aborts the process with a message when another rank doesn't answer in time. Called from the heartbeat
    /// thread, because the rank's own thread is blocked in a collective. Without it, ranks wait forever.
    pub give_up: Option<fn(&str) -> !>,
    /// Step after which training stops, as if a stop was requested.
    pub stop_after: Option<u64>,
    /// Flag by which the caller requests a checkpoint. It is cleared when the request is accepted, and
    /// training continues.
    pub checkpoint: Arc<AtomicBool>,
    /// Client for the webhooks of triggers. Without one, webhooks aren't called.
    pub notify: Option<Arc<dyn Notify>>,
    /// Faults to inject.
    pub faults: Faults,
}
